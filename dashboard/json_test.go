package dashboard

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// objects are those of the JSON, by their names in docs/dashboard.md.
var objects = map[string]reflect.Type{
	"`api/`": reflect.TypeFor[status](), "counts of tasks": reflect.TypeFor[counts](), "a problem": reflect.TypeFor[problem](),
	"a list": reflect.TypeFor[paging](), "`repositories`": reflect.TypeFor[repositoriesView](), "a repository": reflect.TypeFor[repositoryRow](), "`repository?name=`": reflect.TypeFor[repositoryView](),
	"a container": reflect.TypeFor[containerRow](), "`tasks`": reflect.TypeFor[tasksView](), "a task's name": reflect.TypeFor[taskRef](),
	"a task in a list": reflect.TypeFor[taskRow](), "`tasks/ID`": reflect.TypeFor[taskView](), "a step": reflect.TypeFor[step](),
	"commands": reflect.TypeFor[commandsView](), "a command": reflect.TypeFor[commandRow](), "`instances`": reflect.TypeFor[instancesView](),
	"an instance": reflect.TypeFor[instanceRow](), "`queue`": reflect.TypeFor[queueView](), "a task that waits": reflect.TypeFor[waitingRow](),
	"`events`": reflect.TypeFor[eventsView](), "an event": reflect.TypeFor[event](), "`usage`": reflect.TypeFor[usageView](), "a part of the bill": reflect.TypeFor[usageRow](),
}

// members returns the names of the members of an object. Those of an embedded object that has a row of its own are left out.
func members(of reflect.Type) (names []string) {
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous:
			kind := field.Type
			if kind.Kind() == reflect.Pointer {
				kind = kind.Elem()
			}
			if !hasRow(kind) {
				names = append(names, members(kind)...)
			}
		case name == "-" || !field.IsExported():
		case name == "":
			names = append(names, field.Name)
		default:
			names = append(names, name)
		}
	}
	return names
}

func hasRow(kind reflect.Type) bool {
	for _, other := range objects {
		if other == kind {
			return true
		}
	}
	return false
}

// TestTheJSONIsDocumented holds the table in docs/dashboard.md to what is served.
func TestTheJSONIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/dashboard.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n| object | members |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !found {
		t.Fatal("docs/dashboard.md has no table of objects")
	}
	rows := make(map[string]string)
	for line := range strings.Lines(table) {
		if cells := strings.SplitN(line, " | ", 2); len(cells) == 2 {
			rows[strings.TrimPrefix(cells[0], "| ")] = cells[1]
		}
	}
	quoted := regexp.MustCompile("`([A-Za-z_]+)`")
	for name, kind := range objects {
		var documented []string
		for _, word := range quoted.FindAllStringSubmatch(rows[name], -1) {
			documented = append(documented, word[1])
		}
		served := members(kind)
		for _, one := range served {
			if !slices.Contains(documented, one) {
				t.Errorf("%s: %q is not documented", name, one)
			}
		}
		for _, one := range documented {
			if !slices.Contains(served, one) {
				t.Errorf("%s: %q is documented, and not served", name, one)
			}
		}
	}
	for name := range rows {
		if objects[name] == nil && !strings.HasPrefix(name, "|") && !strings.HasPrefix(name, "---") {
			t.Errorf("%s is documented, and not served", name)
		}
	}
}

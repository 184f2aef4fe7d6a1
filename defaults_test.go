package berth

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDefaultsAreWhatTheirCommentsSay pins each default, and the words with which its field's comment gives it.
func TestDefaultsAreWhatTheirCommentsSay(t *testing.T) {
	comments := configComments(t)
	got := reflect.ValueOf(Config{}.withDefaults())
	for field, want := range map[string]struct {
		value any
		words string
	}{
		"Name":                       {"berth", `Default "berth"`},
		"MinInstances":               {0, "Default 0"},
		"MaxInstances":               {1, "Default 1"},
		"MaxTasksPerInstance":        {10, "Default 10"},
		"SpareSlots":                 {0, "Default 0"},
		"InstanceType":               {"t3.large", `Default "t3.large"`},
		"InstanceIdleTimeout":        {10 * time.Minute, "Default 10 min; -1 = never"},
		"BootTimeout":                {5 * time.Minute, "Default 5 min"},
		"MaxInstanceAge":             {7 * 24 * time.Hour, "Default 7 days; -1 = never"},
		"LaunchRate":                 {60, "Default 60; -1 = any number"},
		"SessionIdleTimeout":         {time.Hour, "Default 1 h; -1 = never"},
		"QueueTimeout":               {time.Duration(0), "Default: as long as its context"}, // 0 = without bound
		"SessionRetention":           {10 * time.Minute, "Default 10 min"},
		"ContainerIdleTimeout":       {time.Duration(0), "Default 0: a container goes with its last session"},
		"MaxContainersPerRepository": {1, "Default 1"},
		"Image":                      {"", "Default: berth-workspace:bookworm"}, // the engine's driver chooses
		"Runtime":                    {"", "Default: the engine's default"},
		"MirrorMaxAge":               {time.Minute, "Default 1 min; -1 = any age"},
		"FetchTimeout":               {time.Hour, "Default 1 h"},
		"SaveWork":                   {SaveNothing, "Default: SaveNothing"},
		"EndTimeout":                 {time.Minute, "Default 1 min"},
		"UsageRetention":             {35 * 24 * time.Hour, "Default 35 days; -1 = for ever"},
		"LeftoverGrace":              {5 * time.Minute, "Default 5 min"},
		"MetricRepositories":         {0, "Default 0: metrics name none"},
		"MirrorBudget":               {int64(20 << 30), "Default 20 GiB; -1 = no bound"},
	} {
		if v := got.FieldByName(field).Interface(); v != want.value {
			t.Errorf("the default of %s is %v, want %v", field, v, want.value)
		}
		if !strings.Contains(comments[field], want.words) {
			t.Errorf("the comment of %s does not say %q: %s", field, want.words, comments[field])
		}
		delete(comments, field)
	}
	for field, comment := range comments {
		if strings.Contains(comment, "Default") {
			t.Errorf("the default of %s is in no test: %s", field, comment)
		}
	}
}

// TestWhatIsSetIsNoDefault: -1 means off, and must not be taken for "not set".
func TestWhatIsSetIsNoDefault(t *testing.T) {
	set := Config{
		Name: "ci", MinInstances: 1, MaxInstances: 2, MaxTasksPerInstance: 3, SpareSlots: 4, InstanceType: "m7i.large",
		InstanceIdleTimeout: -1, BootTimeout: time.Minute, MaxInstanceAge: -1, LaunchRate: -1, SessionIdleTimeout: -1,
		QueueTimeout: time.Minute, SessionRetention: time.Minute, MaxContainersPerRepository: 2, Image: "i",
		MirrorMaxAge: -1, FetchTimeout: time.Minute, MirrorBudget: -1, LeftoverGrace: time.Minute, UsageRetention: -1, ContainerIdleTimeout: -1,
		SaveWork: SaveToBranch, EndTimeout: time.Second,
	}
	got := set.withDefaults()
	got.Logger = nil // which is never nil
	if !reflect.DeepEqual(got, set) {
		t.Errorf("%+v has become %+v", set, got)
	}
}

// configComments returns the comments of Config's exported fields.
func configComments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	comments := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			for _, name := range field.Names {
				if name.IsExported() {
					comments[name.Name] = strings.Join(strings.Fields(field.Doc.Text()+" "+field.Comment.Text()), " ")
				}
			}
		}
		return false
	})
	if len(comments) < 20 {
		t.Fatalf("%d fields were found", len(comments))
	}
	return comments
}

// TestSettingsOfEachProcess: the comment of Stats.ConfigDiffers names the settings that are not the planner's, and no others. A new setting
// stands in one of the two lists.
func TestSettingsOfEachProcess(t *testing.T) {
	planners := []string{
		"MinInstances", "MaxInstances", "MaxTasksPerInstance", "SpareSlots", "InstanceType", "InstanceIdleTimeout", "BootTimeout", "MaxInstanceAge",
		"LaunchRate", "SessionRetention", "SnapshotRetention", "UsageRetention", "UsageLabels", "MaxContainersPerRepository", "ContainerIdleTimeout",
		"Warm", "Warm.Refresh", "EC2",
	}
	source, err := os.ReadFile("stats.go")
	if err != nil {
		t.Fatal(err)
	}
	_, comment, begins := strings.Cut(strings.Join(strings.Fields(strings.ReplaceAll(string(source), "//", "")), " "), "each process goes by its own: ")
	comment, _, ends := strings.Cut(comment, ".")
	if !begins || !ends {
		t.Fatal("the comment of ConfigDiffers has no list")
	}
	own := strings.Split(strings.ReplaceAll(comment, " and ", ", "), ", ")
	var known []string
	for name := range (&Config{}).settings() {
		if !slices.Contains(planners, name) {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	if !slices.Equal(own, known) {
		t.Errorf("each process has its own\n%q, and the comment names\n%q", known, own)
	}
}

package dashboard_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/internal/test/texts"
)

// mostPage bounds a page. What others write cannot make it larger.
const mostPage = 300 << 10

func TestHostileTextsAreText(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{Title: script, Authorize: allowAll})
	id := s.hostile()
	for _, path := range []string{
		"", "tasks", "tasks?state=all&q=" + url.QueryEscape(script) + "&user=" + url.QueryEscape(script) + "&label=" + url.QueryEscape(script), "tasks/" + id,
		"tasks/" + id + "/end", "instances?q=" + url.QueryEscape(script), "instances", "queue", "events", "events?type=" + url.QueryEscape(script),
		"usage?by=label&label=" + url.QueryEscape(script), "repository?name=" + url.QueryEscape("git.example/evil/<svg-onload=pwned=1>"),
	} {
		body := s.get(path)
		for _, harm := range []string{"<script>", "<img", "<svg-", "\u202e", "\u2066", "\u200b", "\x1b", "href=\"javascript:"} {
			if strings.Contains(body, harm) {
				t.Errorf("%s has %q", path, harm)
			}
		}
		if len(body) > mostPage {
			t.Errorf("%s has %d bytes", path, len(body))
		}
	}
	page := s.get("tasks/" + id)
	contains(t, "the task", page, `\u202e`, "&lt;script&gt;pwned=1&lt;/script&gt;", "javascript:pwned=1", "; set-cookie")
	var task struct {
		Task    string
		Labels  map[string]string
		Message string
	}
	s.data("tasks/"+id, &task)
	if task.Task != script+"a\u202egnp.exe\u2066\u200b" || task.Labels[script] != script || len(task.Message) < 10_000 {
		t.Errorf("the JSON has other texts: %q", task.Task)
	}
}

// parameters are all that the dashboard reads of a query.
var parameters = []string{
	"q", "state", "user", "repository", "branch", "label", "instance", "sort", "page", "name", "type", "hours", "by", "limit", "for", "reason", "after", "v",
}

// TestEveryParameterIsTried: a new parameter must join the list.
func TestEveryParameterIsTried(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal(sources, err)
	}
	read := regexp.MustCompile(`(?:\bq|Query\(\)|query|Form)\.Get\("([a-z]+)"\)|(?:FormValue|PathValue)\("([a-z]+)"\)`)
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range read.FindAllStringSubmatch(string(text), -1) {
			if name := found[1] + found[2]; !strings.HasSuffix(source, "_test.go") && name != "id" && !slices.Contains(parameters, name) {
				t.Errorf("%s reads %q, which is not tried", source, name)
			}
		}
	}
}

// TestHostileQueries: whatever stands in a parameter or in a path, the answer is a page that shows it as text, or a refusal.
func TestHostileQueries(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{Authorize: allowAll})
	s.create("one", "ann", repoA)
	evil := append(slices.Clone(texts.Evil), script, "'\"><img src=x onerror=pwned=1>", "javascript:pwned=1", "-1", "99999999999999999999", "\r\nset-cookie: a=b")
	try := func(path string) {
		t.Helper()
		resp, body := s.do(http.MethodGet, path, nil)
		if resp.StatusCode >= 500 || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("GET %s: %s, %v", path, resp.Status, resp.Header)
		}
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
			if !json.Valid([]byte(body)) {
				t.Errorf("GET %s: %.300s", path, body)
			}
			return
		}
		for _, harm := range []string{"<script>", "<img", "\u202e", "\u2066", "\u200b", "\x1b", "\x00", "href=\"javascript:"} {
			if strings.Contains(body, harm) {
				t.Errorf("GET %s has %q", path, harm)
			}
		}
	}
	for _, text := range evil {
		for _, page := range []string{"", "tasks", "instances", "queue", "events", "usage", "repository", "repository/warm"} {
			for _, parameter := range parameters {
				try(page + "?" + url.Values{parameter: {text}}.Encode())
				if page != "repository/warm" {
					try("api/" + page + "?" + url.Values{parameter: {text}}.Encode())
				}
			}
		}
		for _, path := range []string{"tasks/", "api/tasks/", "instances/", "api/"} {
			try(path + url.PathEscape(text))
		}
	}
}

func TestManyHostileTextsKeepAPageSmall(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	for i := range 60 {
		s.hostileOne("hostile" + strconv.Itoa(i))
	}
	for _, path := range []string{"", "tasks", "instances", "events"} {
		if n := len(s.get(path)); n > mostPage {
			t.Errorf("%s has %d bytes, want at most %d", path, n, mostPage)
		}
	}
}

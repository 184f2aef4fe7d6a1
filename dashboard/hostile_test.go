package dashboard_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
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

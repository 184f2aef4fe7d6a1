package dashboard_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/internal/test/testenv"
)

// soon is how long a change may take to show. It is 2 s on a machine that has nothing else to do, as it has for "make soak".
func soon() time.Duration {
	if testenv.Soak() {
		return 2 * time.Second
	}
	return time.Minute
}

func browseLive(t *testing.T, browser context.Context) {
	s := open(t, berth.Config{MaxTasksPerInstance: 100}, dashboard.Options{})
	for i := range 40 {
		s.create("early-"+strconv.Itoa(i), "ann", repoA)
	}
	b := newTab(t, browser, s)
	b.open("tasks")
	b.until(`document.getElementById("conn").dataset.state === "live"`)
	eval[any](b, `
		mark = document.querySelector("tbody tr:nth-child(20) a");
		getSelection().selectAllChildren(mark);
		mark.focus();
		document.querySelector("input[name=user]").value = "half a na";
		scrollTo(0, 400);
		before = mark.getBoundingClientRect().top; 0`)

	const row = `[...document.querySelectorAll("tbody th")].some((e) => e.textContent === "late")`
	begun := time.Now()
	session := s.create("late", "bob", repoB)
	b.until(row)
	took := time.Since(begun)
	if t.Logf("a session shows after %v", took); took > soon() {
		t.Errorf("a session shows after %v, want at most %v", took, soon())
	}
	for what, expression := range map[string]string{
		"the page was loaded again": `!mark.isConnected`,
		"the focus has moved":       `document.activeElement !== mark`,
		"the selection has changed": `getSelection().toString() !== mark.textContent`,
		"a typed text is gone":      `document.querySelector("input[name=user]").value !== "half a na"`,
		"the page has scrolled":     `Math.abs(mark.getBoundingClientRect().top - before) > 2`,
	} {
		if eval[bool](b, expression) {
			t.Error(what)
		}
	}
	begun = time.Now()
	if err := s.TerminateSession(t.Context(), session.ID()); err != nil {
		t.Fatal(err)
	}
	b.until("!" + row)
	took = time.Since(begun)
	if t.Logf("its end shows after %v", took); took > soon() {
		t.Errorf("the end of a session shows after %v, want at most %v", took, soon())
	}
	b.until(`document.querySelector("time").textContent.endsWith("ago") || document.querySelector("time").textContent === "now"`)
}

func browseByKeyboard(t *testing.T, browser context.Context) {
	s := open(t, berth.Config{MaxTasksPerInstance: 100}, dashboard.Options{})
	for i := range 55 {
		s.create("task-"+strconv.Itoa(i), "user-"+strconv.Itoa(i%2), repoA)
	}
	b := newTab(t, browser, s)
	key := func(keys ...string) {
		t.Helper()
		for _, k := range keys {
			b.run(chromedp.KeyEvent(k))
		}
	}
	focused := func() string {
		return eval[string](b, `(document.activeElement.textContent || document.activeElement.name).trim()`)
	}
	b.open("tasks")
	key(kb.Tab)
	if got := focused(); got != "Skip to the content" {
		t.Errorf("the first stop is %q", got)
	}
	key(kb.Enter)
	if got := eval[string](b, `document.activeElement.id`); got != "main" {
		t.Errorf("after the skip link %q has the focus", got)
	}

	// Filter, look at the second part, go back twice.
	key("/")
	b.run(chromedp.KeyEvent("user-1"))
	b.waitFor(func() { key(kb.Enter) })
	if got := b.path(); !strings.Contains(got, "q=user-1") {
		t.Errorf("after a search the page is %q", got)
	}
	if n := eval[int](b, `document.querySelectorAll("tbody tr").length`); n != 27 {
		t.Errorf("the search finds %d, want 27", n)
	}
	b.waitFor(func() { eval[any](b, "history.back()") })
	if got := b.path(); got != "tasks" && got != "tasks#main" {
		t.Errorf("the back button leads to %q", got)
	}
	eval[any](b, `document.querySelector("a[rel=next]").focus()`)
	b.waitFor(func() { key(kb.Enter) })
	if n := eval[int](b, `document.querySelectorAll("tbody tr").length`); n != 5 {
		t.Errorf("the second part has %d tasks, want 5", n)
	}
	reachAll(b)
}

// reachAll checks that the tabulator reaches the links and controls of the first page.
func reachAll(b *tab) {
	b.t.Helper()
	b.open("")
	seen := map[string]bool{}
	stops := eval[int](b, `document.querySelectorAll("a, button, input:not([type=hidden]), select").length`)
	for range stops {
		b.run(chromedp.KeyEvent(kb.Tab))
		seen[eval[string](b, `document.activeElement.outerHTML`)] = true
	}
	for _, part := range []string{"?sort=-cost", "repository?name=", "tasks/s-", `type="search"`} {
		found := false
		for html := range seen {
			found = found || strings.Contains(html, part)
		}
		if !found {
			b.t.Errorf("the keyboard does not reach %s", part)
		}
	}
}

// waitFor does something that loads another page, and waits for it.
func (b *tab) waitFor(do func()) {
	b.t.Helper()
	eval[any](b, `window.old = true; 0`)
	do()
	b.until(`!window.old && document.readyState === "complete"`)
}

func (b *tab) click(text string) {
	b.t.Helper()
	b.waitFor(func() {
		eval[any](b, `[...document.querySelectorAll("a, button")].find((e) => e.textContent.trim().startsWith(`+strconv.Quote(text)+`)).click()`)
	})
}

func browseActions(t *testing.T, browser context.Context) {
	s := open(t, berth.Config{}, dashboard.Options{Authorize: func(_ *http.Request, a dashboard.Action) error {
		if a.Task.UserID == "root" {
			return errors.New("the tasks of root are not yours")
		}
		return nil
	}})
	mine, roots := s.create("mine", "ann", repoA), s.create("roots", "root", repoA)
	b := newTab(t, browser, s)
	b.open("tasks/" + roots.ID())
	b.click("End this task")
	if text := eval[string](b, "document.body.innerText"); !strings.Contains(text, "the tasks of root are not yours") {
		t.Errorf("the refusal says\n%s", text)
	}
	b.open("tasks/" + mine.ID())
	b.click("End this task")
	b.click("Do nothing")
	if _, err := s.SessionByTask(t.Context(), "mine"); err != nil {
		t.Fatalf("a task ended without consent: %v", err)
	}
	b.click("End this task")
	b.click("End the task")
	b.until(`document.body.innerText.includes("It ended: terminated.")`)
	if _, err := s.SessionByTask(t.Context(), "mine"); !errors.Is(err, berth.ErrSessionNotFound) {
		t.Errorf("the task goes on: %v", err)
	}
	b.open("instances")
	b.click("Cordon")
	b.run(chromedp.SendKeys(chromedp.CSS("input[name=reason]"), "a <b>look</b>"))
	b.click("Cordon the instance")
	b.until(`document.body.innerText.includes("an operator: a <b>look</b>")`)
	b.click("Uncordon")
	b.click("Uncordon the instance")
	b.until(`document.querySelector("tbody .state").textContent === "ready"`)
}

func browseHostile(t *testing.T, browser context.Context) {
	s := open(t, berth.Config{}, dashboard.Options{})
	id := s.hostile()
	b := newTab(t, browser, s)
	for _, path := range []string{"", "tasks", "tasks/" + id, "instances", "queue", "events", "usage", "tasks?q=" + url.QueryEscape(`"><script>pwned=1</script>`)} {
		b.open(path)
		if eval[bool](b, `window.pwned !== undefined || document.querySelector("img, iframe, script:not([src])") !== null`) {
			t.Errorf("%q runs or embeds what a task ID says", path)
		}
		if by := eval[string](b, overflow); by != "" {
			t.Errorf("%q is too wide: %s", path, by)
		}
		b.picture("hostile-" + strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' {
				return r
			}
			return -1
		}, path[:min(len(path), 5)]))
	}
	b.open("tasks/" + id)
	text := eval[string](b, "document.body.innerText")
	for _, want := range []string{"<script>pwned=1</script>", `\u202e`, `<img src=x onerror=pwned=1>`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page of the task does not show %s as text:\n%s", want, text)
		}
	}
	if strings.ContainsRune(text, '\u202e') {
		t.Error("the page has a direction override")
	}
}

func browsePlain(t *testing.T, browser context.Context) {
	s := open(t, berth.Config{}, dashboard.Options{})
	s.create("task-1", "ann", repoA)
	b := newTab(t, browser, s)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open("")
	text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"task-1", "ann", "git.example/team/alpha", "Tasks", "Usage"} {
		if !strings.Contains(text, want) {
			t.Errorf("without JavaScript the page lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "not live") {
		t.Error("a page without JavaScript says that it is not live")
	}
}

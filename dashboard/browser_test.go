package dashboard_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/internal/test/testenv"
)

// screenshots is the environment variable that names the directory for pictures of every page. Without it none is taken.
const screenshots = "BERTH_SCREENSHOTS"

// patience only keeps a browser that hangs from stopping the tests.
const patience = 5 * time.Minute

// startBrowser starts a browser without a window. It ends with the test.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		testenv.Missing(t, "needs a browser: neither chromium nor google-chrome is in PATH")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-gpu", true), chromedp.WSURLReadTimeout(patience))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", program, err)
	}
	return ctx
}

// tab is a page in the browser. At the end of its test, its console must have nothing to complain of.
type tab struct {
	*site
	ctx context.Context

	mu         sync.Mutex // protects complaints
	complaints []string
}

// newTab opens a tab, 1280 pixels wide.
func newTab(t *testing.T, browser context.Context, s *site) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	ctx, cancelTime := context.WithTimeout(ctx, patience)
	b := &tab{site: s, ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *log.EventEntryAdded:
			b.complaints = append(b.complaints, string(e.Entry.Source)+": "+e.Entry.Text+" "+e.Entry.URL)
		case *runtime.EventExceptionThrown:
			b.complaints = append(b.complaints, "exception: "+e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			b.complaints = append(b.complaints, "console: "+string(e.Type))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		for _, c := range b.complaints {
			if !strings.Contains(c, "403") { // the browser tells of refused actions, too
				t.Errorf("the browser complains: %s", c)
			}
		}
		b.mu.Unlock()
		cancelTime()
		cancel()
	})
	b.run(chromedp.EmulateViewport(1280, 900))
	return b
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// call sends a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	b.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	}))
}

// open loads a page.
func (b *tab) open(path string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.server.URL + b.prefix + path))
}

// eval returns the value of an expression.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%v, in %s", err, expression)
	}
	return value
}

// until waits until an expression is true, and returns how long that took.
func (b *tab) until(expression string) time.Duration {
	b.t.Helper()
	begun := time.Now()
	for {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		switch took := time.Since(begun); {
		case is && err == nil:
			return took
		case took > patience/4:
			b.t.Fatalf("%s does not become true: %v\n%s", expression, err, eval[string](b, "document.body.innerText"))
		}
		time.Sleep(10 * time.Millisecond) // an error is that of a page that is being left
	}
}

// path is the path of the page with its query, below the prefix.
func (b *tab) path() string {
	return strings.TrimPrefix(eval[string](b, "location.pathname + location.search"), b.prefix)
}

// picture keeps a picture of the page, if somebody wants to look at it.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv(screenshots)
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err := errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)); err != nil {
		b.t.Fatal(err)
	}
}

// TestBrowser drives the pages in a real browser. The parts share it, because its start takes a second or more.
func TestBrowser(t *testing.T) {
	browser := startBrowser(t)
	t.Run("pages", func(t *testing.T) { browsePages(t, browser) })
	t.Run("live", func(t *testing.T) { browseLive(t, browser) })
	t.Run("commands", func(t *testing.T) { browseCommands(t, browser) })
	t.Run("keyboard", func(t *testing.T) { browseByKeyboard(t, browser) })
	t.Run("actions", func(t *testing.T) { browseActions(t, browser) })
	t.Run("warmth", func(t *testing.T) { browseWarmth(t, browser) })
	t.Run("hostile", func(t *testing.T) { browseHostile(t, browser) })
	t.Run("without JavaScript", func(t *testing.T) { browsePlain(t, browser) })
}

// overflow is by how many pixels a page is wider than the window, and the first element that sticks out.
const overflow = `(() => {
	const width = document.documentElement.clientWidth, by = document.documentElement.scrollWidth - width;
	if (by <= 0) return "";
	const out = [...document.querySelectorAll("body *")].find((e) => e.getBoundingClientRect().right > width + 1);
	return by + " " + (out ? out.outerHTML.slice(0, 200) : "");
})()`

// faint lists texts whose contrast with their background is less than WCAG's 4.5.
const faint = `(() => {
	const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return c.startsWith("color(") ? [m[0] * 255, m[1] * 255, m[2] * 255, m[3] ?? 1] : [m[0], m[1], m[2], m[3] ?? 1]; };
	const lum = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
	const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0.99) return c; } return [255, 255, 255, 1]; };
	const found = [];
	for (const e of document.querySelectorAll("body *")) {
		if (e.closest(".sr, svg, .skip, [hidden]") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim())) continue;
		const a = lum(parse(getComputedStyle(e).color)), b = lum(ground(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) found.push(ratio.toFixed(2) + " " + e.outerHTML.slice(0, 120));
	}
	return found.slice(0, 3).join("\n");
})()`

// unnamed lists controls that a screen reader cannot name, headings and landmarks that are missing, and IDs that are not unique.
const unnamed = `(() => {
	const found = [];
	for (const e of document.querySelectorAll("a, button, input:not([type=hidden]), select")) {
		const name = e.getAttribute("aria-label") || e.textContent.trim() || (e.labels && e.labels[0] && e.labels[0].textContent.trim());
		if (!name) found.push(e.outerHTML.slice(0, 120));
	}
	if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
	for (const landmark of ["header", "nav", "main", "footer"]) if (!document.querySelector(landmark)) found.push("no " + landmark);
	const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
	if (new Set(ids).size !== ids.length) found.push("an ID twice");
	for (const t of document.querySelectorAll("table")) if (!t.caption || !t.querySelector("th[scope]")) found.push("a table without caption or scope");
	return found.slice(0, 3).join("\n");
})()`

func browsePages(t *testing.T, browser context.Context) {
	s := trouble(t, dashboard.Options{Authorize: func(*http.Request, dashboard.Action) error { return nil }})
	b := newTab(t, browser, s)
	session := s.sessionID("fix-login")
	s.startCommands("fix-login")
	pages := map[string]string{
		"repositories": "", "repository": "repository?name=git.example%2Fteam%2Falpha", "tasks": "tasks", "ended": "tasks?state=ended",
		"task": "tasks/s-0nightly", "commands": "tasks/" + session, "instances": "instances", "queue": "queue", "events": "events", "usage": "usage",
		"confirm": "tasks/" + session + "/end",
	}
	for _, scheme := range []string{"light", "dark"} {
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		for name, path := range pages {
			b.run(chromedp.EmulateViewport(1280, 900))
			b.open(path)
			for _, width := range []int64{360, 1280, 2200} {
				b.run(chromedp.EmulateViewport(width, 900))
				what := name + " " + scheme + " " + strconv.FormatInt(width, 10)
				if by := eval[string](b, overflow); by != "" {
					t.Errorf("%s is too wide: %s", what, by)
				}
				b.picture(strings.ReplaceAll(what, " ", "-"))
			}
			if found := eval[string](b, faint); found != "" {
				t.Errorf("%s in %s has texts that are hard to read:\n%s", name, scheme, found)
			}
			if found := eval[string](b, unnamed); found != "" {
				t.Errorf("%s is hard to use with a screen reader:\n%s", name, found)
			}
		}
	}
}

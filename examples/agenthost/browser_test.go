package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/berth-go/berth/internal/test/testenv"
)

// tab is a page in a real browser. At the end of its test, its console must have nothing to complain of.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string

	mu         sync.Mutex // protects complaints
	complaints []string
}

// newTab starts a browser without a window. It ends with the test.
func newTab(t *testing.T, url string) *tab {
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
	b := &tab{t: t, ctx: ctx, url: url}
	b.run(chromedp.EmulateViewport(1000, 600))
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, c := range b.complaints {
			if !strings.Contains(c, "WebSocket connection to") && !strings.HasPrefix(c, "recommendation: ") { // while the backend was away
				t.Errorf("the browser complains: %s", c)
			}
		}
	})
	return b
}

func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, string(e.Entry.Source)+": "+e.Entry.Text+" "+e.Entry.URL)
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, "exception: "+e.ExceptionDetails.Text+" "+e.ExceptionDetails.URL)
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, "console: "+string(e.Type))
	}
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
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

// until waits until an expression is true.
func (b *tab) until(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+expression+")")) // fails while a page is being left
		if is && err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s does not become true: %v\n%s", expression, err, eval[string](b, "document.body.innerText"))
		}
	}
}

// signIn signs in with a token.
func (b *tab) signIn(token string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.url + "/")) // leads to the login
	b.until(`location.pathname === "/login" && document.querySelector("input[name=token]")`)
	eval[bool](b, `(document.querySelector("input[name=token]").value = "`+token+`", document.querySelector("form").submit(), true)`)
	b.until(`location.pathname === "/" && document.querySelector("a[href='/tasks/login/terminal']")`)
}

// shown is the text of the terminal's screen.
const shown = `document.querySelector("#screen").innerText`

// shows waits until the terminal shows a text.
func (b *tab) shows(text string) {
	b.t.Helper()
	b.until(shown + ".includes(`" + text + "`)")
}

// types types keys.
func (b *tab) types(text string) {
	b.t.Helper()
	b.run(chromedp.KeyEvent(text))
}

// columns is the width of the terminal.
func (b *tab) columns() int {
	b.t.Helper()
	return eval[int](b, `Math.floor((document.querySelector("main").clientWidth - 8) / (document.querySelector("#probe").getBoundingClientRect().width / 10))`)
}

// programs runs programs that draw: what they show is where it should be.
func (b *tab) programs() {
	b.t.Helper()
	b.types(`printf '\033[2J\033[H'` + "\r")
	b.until("!" + shown + ".includes(`kept-`)")
	b.types(`printf '\033[1;31mred\033[0m \033[38;5;200mpink\033[0m\n'` + "\r")
	b.until(`[...document.querySelectorAll("#screen .fg1.bold")].some((e) => e.textContent === "red")`)
	b.until(`[...document.querySelectorAll("#screen .fg")].some((e) => e.textContent === "pink" && getComputedStyle(e).color === "rgb(255, 0, 215)")`)
	b.types("top -d 1\r")
	b.until(`/^top - /m.test(` + shown + `) && /^ *PID +USER/m.test(` + shown + `)`)
	b.types("q")
	b.until(`/\$ ?$/.test(` + shown + `.trimEnd())`)
	b.types("seq 1 300 | less\r")
	b.shows("1\n2\n3\n4\n")
	b.types("G")
	b.shows("299\n300\n")
	b.types("q")
	b.until(`/\$ ?$/.test(` + shown + `.trimEnd())`)
}

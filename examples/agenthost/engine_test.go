package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
)

// asProgram is set in processes that are the program, and not its test: to the name of the pool.
const asProgram = "BERTH_EXAMPLE_AGENTHOST"

func TestMain(m *testing.M) {
	if pool := os.Getenv(asProgram); pool != "" {
		l, err := net.Listen("tcp", os.Args[1])
		if err == nil {
			o := options{database: os.Args[2], tokens: os.Args[3], agent: "sh -c"}
			err = run(context.Background(), l, o, berth.Config{
				Name: pool, Image: os.Args[4], Egress: gittest.Egress(), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
			})
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// patience only keeps a test that hangs from stopping the others.
const patience = 4 * time.Minute

// program is the backend as a process of its own.
type program struct {
	t    *testing.T
	args []string
	env  string
	url  string
	cmd  *exec.Cmd
}

// start starts the process and waits until all is well with it.
func (p *program) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], p.args...)
	p.cmd.Env = append(os.Environ(), p.env)
	p.cmd.Stderr = p.t.Output()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.eventually("the backend is well", func() bool {
		resp, err := http.Get(p.url + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// kill ends the process at once.
func (p *program) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait()
}

func (p *program) eventually(what string, is func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("after %v it does not hold that %s", patience, what)
		}
	}
}

// do sends a request, and returns the answer's body and trailer.
func (p *program) do(token, method, path, body string) (string, http.Header) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		p.t.Fatalf("%s %s: %s, %s, %v", method, path, resp.Status, text, err)
	}
	return string(text), resp.Trailer
}

// TestOnTheEngine: the backend is killed and started again, while an agent works and a browser has a terminal.
func TestOnTheEngine(t *testing.T) {
	image, dir := testenv.ImageWith(t, "ncurses-base", "vim-tiny"), t.TempDir()
	git := gittest.NewSmartServer(t)
	remote := git.Create("acme/shop", gittest.Files(map[string]string{"README.md": "# shop\n"}))
	listener, err := net.Listen("tcp", "127.0.0.1:0") // frees the port for the backend
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	pool := testenv.PoolName(t)
	tokens := filepath.Join(dir, "tokens")
	alice, err := addToken(tokens, user{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, args: []string{addr, filepath.Join(dir, "db"), tokens, image}, env: asProgram + "=" + pool, url: "http://" + addr}
	p.start()
	t.Cleanup(func() { clear(t, p, pool) })

	const script = `echo begun; read line; echo "got $line"; echo new >new.txt; git commit -q --allow-empty -m empty; exit 3`
	p.do(alice, "PUT", "/api/tasks/login", `{"repository": "`+remote.URL()+`", "prompt": `+fmt.Sprintf("%q", script)+`}`)
	p.do(alice, "PUT", "/api/tasks/login", `{"repository": "`+remote.URL()+`", "prompt": "true"}`) // it is not started again
	b := newTab(t, p.url)
	b.signIn(alice)
	b.run(chromedp.Navigate(p.url + "/tasks/login/terminal"))
	b.shows("$")
	b.types("x=kept; echo got-$x\r")
	b.shows("got-kept")

	p.kill()
	b.until(`!document.querySelector("#notice").hidden`)
	p.start()
	b.until(`document.querySelector("#notice").hidden`)
	b.types("echo $x-$COLUMNS-$TERM\r")
	b.shows("kept-" + fmt.Sprint(b.columns()) + "-xterm-256color")
	b.run(chromedp.Reload())
	b.shows("kept-")
	b.programs()

	useAPI(t, p, alice, remote)
	b.types("exit 7\r")
	b.until(`document.querySelector("#notice").textContent.includes("ended with 7")`)
	p.do(alice, "DELETE", "/api/tasks/login", "")
	p.do(alice, "DELETE", "/api/tasks/long", "")
}

// useAPI does what a client does with a task whose agent waits for a line.
func useAPI(t *testing.T, p *program, alice string, remote *gittest.Remote) {
	t.Helper()
	p.do(alice, "POST", "/api/tasks/login/input", "the line\n")
	out, trailer := p.do(alice, "GET", "/api/tasks/login/output?from=6", "")
	if out != "got the line\n" || trailer.Get("Exit-Code") != "3" {
		t.Errorf("the output is %q, %v", out, trailer)
	}
	if got, _ := p.do(alice, "GET", "/api/tasks/login/files/new.txt", ""); got != "new\n" {
		t.Errorf("the file has %q", got)
	}
	if got, _ := p.do(alice, "GET", "/api/tasks/login/diff", ""); !strings.Contains(got, "+++ b/new.txt") {
		t.Errorf("the diff is %q", got)
	}
	pushed, _ := p.do(alice, "POST", "/api/tasks/login/push", `{"branch": "fix", "message": "Add a file"}`)
	if head := remote.Head("fix"); !strings.Contains(pushed, head) {
		t.Errorf("pushed is %s, and the branch is at %s", pushed, head)
	}
	p.do(alice, "PUT", "/api/tasks/long", `{"repository": "`+remote.URL()+`", "prompt": "sleep 1000"}`)
	p.do(alice, "POST", "/api/tasks/long/cancel", "")
}

// clear ends the process, and removes its pool.
func clear(t *testing.T, p *program, pool string) {
	p.kill()
	records, err := openStore(context.Background(), p.args[1])
	if err != nil {
		t.Fatal(err)
	}
	defer records.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	last, err := berth.NewLocalProvider(ctx, berth.Config{Name: pool, Store: records, Image: p.args[3], Egress: gittest.Egress()})
	if err != nil {
		t.Fatal(err)
	}
	if err := last.Destroy(ctx); err != nil {
		t.Error(err)
	}
}

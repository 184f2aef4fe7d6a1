package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store/memstore"
)

const shop = "https://github.com/acme/shop"

// world is what outlives a process of the backend: machines, containers, the database and the file with the tokens.
type world struct {
	t      *testing.T
	cloud  *fake.Cloud
	engine *fake.Engine
	store  *memstore.Store
	agents *agents
	tokens string
	alice  string // tokens
	bob    string
	admin  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, cloud: fake.NewCloud(fake.CloudOptions{}), store: memstore.New(), tokens: filepath.Join(t.TempDir(), "tokens"), agents: &agents{}}
	w.engine = fake.NewEngine(fake.EngineOptions{Cloud: w.cloud, Run: w.agents.run})
	t.Cleanup(func() { w.engine.Close() })
	for token, u := range map[*string]user{&w.alice: {Name: "alice"}, &w.bob: {Name: "bob"}, &w.admin: {Name: "root", Admin: true}} {
		var err error
		if *token, err = addToken(w.tokens, u); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// backend is a process of the backend, and a client of it.
type backend struct {
	t     *testing.T
	w     *world
	net   *pipes
	http  *http.Client
	token string
	stop  func() // ends the process with grace
}

// start starts a process.
func (w *world) start(cfg berth.Config) *backend {
	w.t.Helper()
	cfg.Store = w.store
	meters, registry, err := newMetrics()
	if err != nil {
		w.t.Fatal(err)
	}
	cfg.MeterProvider = meters
	p, err := fake.NewProvider(fake.Options{Config: cfg, Cloud: w.cloud, Engine: w.engine})
	if err != nil {
		w.t.Fatal(err)
	}
	a := &app{
		provider: p, metrics: registry, tokens: &tokens{path: w.tokens}, agent: []string{"agent"}, log: slog.New(slog.DiscardHandler),
	}
	b := &backend{t: w.t, w: w, net: &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}, token: w.alice}
	transport := &http.Transport{DialContext: b.net.dial}
	b.http = &http.Client{Transport: transport}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, b.net, a.handler()) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			w.t.Error(err)
		}
		transport.CloseIdleConnections()
		p.Close()
	})
	w.t.Cleanup(b.stop)
	return b
}

// as returns a client with another token.
func (b *backend) as(token string) *backend {
	other := *b
	other.token = token
	return &other
}

// send sends a request. The caller closes the answer's body.
func (b *backend) send(ctx context.Context, method, path, body string, header ...string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://agenthost"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp
}

// call sends a request, checks the status, and returns the answer, which it also reads into got unless that is nil.
func (b *backend) call(want int, method, path, body string, got any) string {
	b.t.Helper()
	resp := b.send(b.t.Context(), method, path, body)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		b.t.Fatalf("%s %s = %d %s, %v, want %d", method, path, resp.StatusCode, text, err, want)
	}
	if got != nil {
		if err := json.Unmarshal(text, got); err != nil {
			b.t.Fatalf("%s %s: %v in %q", method, path, err, text)
		}
	}
	return string(text)
}

// event is a server-sent event.
type event struct{ name, id, data string }

// stream is a stream of events.
type stream struct {
	t     *testing.T
	body  io.ReadCloser
	lines *bufio.Scanner
	last  string // ID
}

// events asks for the output of a task.
func (b *backend) events(task string, from string) *stream {
	b.t.Helper()
	resp := b.send(b.t.Context(), "GET", "/api/tasks/"+task+"/output", "", "Accept", "text/event-stream", "Last-Event-ID", from)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("the stream is answered by %v", resp)
	}
	s := &stream{t: b.t, body: resp.Body, lines: bufio.NewScanner(resp.Body)}
	b.t.Cleanup(func() { s.body.Close() })
	return s
}

// next returns the next event. ok is false at the end of the stream.
func (s *stream) next() (e event, ok bool) {
	s.t.Helper()
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id, s.last = value, value
		case "data":
			e.data = value
		case "":
			if e != (event{}) {
				return e, true
			}
		}
	}
	return event{}, false
}

// want reads text until it has all of it.
func (s *stream) want(text string) {
	s.t.Helper()
	for got := ""; got != text; {
		e, ok := s.next()
		if !ok || e.name != "output" || !strings.HasPrefix(text, got) {
			s.t.Fatalf("after %q comes %+v (%v), want %q", got, e, ok, text)
		}
		var part string
		if err := json.Unmarshal([]byte(e.data), &part); err != nil {
			s.t.Fatal(err)
		}
		got += part
	}
}

// pipes is a network in memory, as bubbles need it.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// agents does what the scripts do in a real container. TestOnTheEngine runs the scripts themselves.
type agents struct {
	mu     sync.Mutex // protects inputs, and that one agent starts in a session
	inputs map[string]chan string
	runs   int
}

func (a *agents) run(ctx context.Context, c fake.Command) int {
	if c.Terminal != nil {
		return a.shell(c)
	}
	switch c.Args[2] {
	case startScript:
		input := a.claim(c)
		if input == nil {
			return 75
		}
		return a.work(ctx, c, input)
	case inputScript:
		a.mu.Lock()
		input := a.inputs[c.Session]
		a.mu.Unlock()
		body, _ := io.ReadAll(c.Stdin)
		select {
		case input <- string(body):
			return 0
		case <-ctx.Done():
			return -9
		}
	}
	return 127
}

// claim makes the caller the agent of its session, or returns nil.
func (a *agents) claim(c fake.Command) chan string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := c.Files.Read(runFile); err == nil {
		return nil
	}
	c.Files.Write(runFile, []byte(c.Args[4]+"\n"))
	if a.inputs == nil {
		a.inputs = make(map[string]chan string)
	}
	a.runs++
	a.inputs[c.Session] = make(chan string)
	return a.inputs[c.Session]
}

// work stands in for the agent. It works for twenty minutes of virtual time, for which the test does not wait.
func (a *agents) work(ctx context.Context, c fake.Command, input chan string) int {
	signals := c.Signals()
	fmt.Fprintf(c.Stdout, "%s: %s\n", strings.Join(c.Args[5:], " "), c.Env["PROMPT"])
	for done := time.After(20 * time.Minute); ; {
		select {
		case line := <-input:
			fmt.Fprintf(c.Stdout, "got %s\n", line)
			if line == "stop" {
				return 3
			}
		case <-signals:
			fmt.Fprintln(c.Stdout, "interrupted")
			return 130
		case <-done:
			fmt.Fprintln(c.Stdout, "done ✓")
			return 0
		case <-ctx.Done():
			return -9
		}
	}
}

// shell shows what is typed, and the terminal's size. Ctrl-D ends it.
func (a *agents) shell(c fake.Command) int {
	size, changed := c.Terminal.Size()
	fmt.Fprintf(c.Stdout, "[%dx%d]", size.Rows, size.Cols)
	typed, over := make(chan []byte), make(chan struct{})
	defer close(over)
	go func() { // ends with the command
		defer close(typed)
		for b := make([]byte, 100); ; {
			n, err := c.Stdin.Read(b)
			if err != nil {
				return
			}
			select {
			case typed <- append([]byte(nil), b[:n]...):
			case <-over:
			}
		}
	}()
	for {
		select {
		case b, ok := <-typed:
			if !ok {
				return 1
			}
			if string(b) == "\x04" {
				return 0
			}
			fmt.Fprintf(c.Stdout, "%s", b)
		case <-changed:
			size, changed = c.Terminal.Size()
			fmt.Fprintf(c.Stdout, "[%dx%d]", size.Rows, size.Cols)
		}
	}
}

// readTokensFile returns the file with the tokens' hashes.
func (w *world) readTokensFile() string {
	w.t.Helper()
	b, err := os.ReadFile(w.tokens)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

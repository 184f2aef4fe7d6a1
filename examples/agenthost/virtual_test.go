package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/berth-go/berth"
)

const onShop = `{"repository": "` + shop + `", "prompt": "fix the login"}`

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

func TestTaskFromStartToEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.start(berth.Config{})
		var made task
		b.call(200, "PUT", "/api/tasks/login", onShop, &made)
		if made.ID != "login" || made.Repository != "github.com/acme/shop" || made.State != berth.SessionActive || made.Agent == nil || made.Agent.State != "running" {
			t.Errorf("it is %+v, %+v", made, made.Agent)
		}
		s := b.events("login", "0")
		s.want("agent: fix the login\n")
		b.call(204, "POST", "/api/tasks/login/input", "also the logout", nil)
		s.want("got also the logout\n")
		time.Sleep(time.Hour / 2)
		s.want("done ✓\n")
		if e, ok := s.next(); e != (event{"end", "", `{"exitCode":0}`}) || !ok {
			t.Errorf("the last event is %+v", e)
		}
		if e, ok := s.next(); ok {
			t.Errorf("after the end comes %+v", e)
		}
		b.call(409, "POST", "/api/tasks/login/input", "too late", nil)

		resp := b.send(t.Context(), "GET", "/api/tasks/login/output?from=-9", "")
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "done ✓\n" && string(text) != "\ndone ✓\n" || resp.Trailer.Get("Exit-Code") != "0" {
			t.Errorf("the end of the output as it is: %q, %v, %v", text, resp.Trailer, err)
		}
		var list []task
		b.call(200, "GET", "/api/tasks", "", &list)
		var got task
		b.call(200, "GET", "/api/tasks/login", "", &got)
		if len(list) != 1 || list[0].ID != "login" || got.Agent.State != "ended" || got.Agent.ExitCode != 0 || got.Agent.Bytes != 50 {
			t.Errorf("listed are %+v, and it is %+v", list, got.Agent)
		}
		b.call(204, "DELETE", "/api/tasks/login", "", nil)
		b.call(204, "DELETE", "/api/tasks/login", "", nil)
		b.call(404, "GET", "/api/tasks/login/output", "", nil)
	})
}

// TestOneAgentHoweverOftenItIsStarted: two processes of the backend get the same request several times at once.
func TestOneAgentHoweverOftenItIsStarted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first, second := w.start(berth.Config{}), w.start(berth.Config{})
		var all sync.WaitGroup
		for _, b := range []*backend{first, second, first, second, first} {
			all.Go(func() { b.call(200, "PUT", "/api/tasks/login", onShop, nil) })
		}
		all.Wait()
		if w.agents.runs != 1 {
			t.Errorf("%d agents were started", w.agents.runs)
		}
		second.call(200, "PUT", "/api/tasks/login", onShop, nil)
		second.call(409, "PUT", "/api/tasks/login", strings.ReplaceAll(onShop, "shop", "bank"), nil)
		if w.agents.runs != 1 {
			t.Errorf("%d agents were started", w.agents.runs)
		}
		second.events("login", "7").want("fix the login\n")
	})
}

// TestBackendIsStartedAgain: a stream ends with its process, without an end event, and goes on at its offset in the next one.
func TestBackendIsStartedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.start(berth.Config{})
		b.call(200, "PUT", "/api/tasks/login", onShop, nil)
		s := b.events("login", "0")
		s.want("agent: fix the login\n")
		b.stop()
		if e, ok := s.next(); ok {
			t.Errorf("the stream of a process that ends has %+v", e)
		}
		b = w.start(berth.Config{})
		time.Sleep(time.Minute)
		b.call(204, "POST", "/api/tasks/login/input", "stop", nil)
		s = b.events("login", s.last)
		s.want("got stop\n")
		if e, _ := s.next(); e.name != "end" || e.data != `{"exitCode":3}` {
			t.Errorf("the last event is %+v", e)
		}
	})
}

func TestCancel(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.start(berth.Config{})
		b.call(200, "PUT", "/api/tasks/login", onShop, nil)
		b.call(204, "POST", "/api/tasks/login/cancel", "", nil)
		var got task
		b.call(200, "GET", "/api/tasks/login", "", &got)
		if got.State != berth.SessionActive || got.Agent.State != "ended" || got.Agent.ExitCode != 130 {
			t.Errorf("after the cancellation it is %+v, %+v", got, got.Agent)
		}
		b.call(204, "POST", "/api/tasks/login/cancel", "", nil)
	})
}

func TestFilesDiffPush(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.start(berth.Config{})
		b.call(200, "PUT", "/api/tasks/login", onShop, nil)
		const files = "/api/tasks/login/files/"
		b.call(204, "PUT", files+"src/a.txt", "hello", nil)
		b.call(204, "PUT", files+"src/a.txt", "hello again", nil)
		if got := b.call(200, "GET", files+"src/a.txt", "", nil); got != "hello again" {
			t.Errorf("the file has %q", got)
		}
		var entries []entry
		b.call(200, "GET", files+"src", "", &entries)
		if len(entries) != 1 || entries[0].Name != "a.txt" || entries[0].Type != "file" || entries[0].Size != 11 {
			t.Errorf("the directory has %+v", entries)
		}
		b.call(404, "GET", files+"none", "", nil)
		b.call(400, "PUT", files+"%2Fetc%2Fpasswd", "x", nil)
		if got := b.call(200, "GET", "/api/tasks/login/diff", "", nil); !strings.Contains(got, "src/a.txt") {
			t.Errorf("the diff is %q", got)
		}
		var pushed map[string]string
		b.call(200, "POST", "/api/tasks/login/push", `{"message": "Fix it"}`, &pushed)
		if pushed["branch"] != "agent/login" || len(pushed["commit"]) < 40 {
			t.Errorf("pushed is %v", pushed)
		}
		b.call(400, "POST", "/api/tasks/login/push", `{"branch": "a..b"}`, nil)
		w.engine.RefusePushes("https://github.com/acme/shop", errors.New("the branch is protected"))
		if got := b.call(422, "POST", "/api/tasks/login/push", `{"branch": "protected"}`, nil); !strings.Contains(got, "the branch is protected") {
			t.Errorf("git's message is %q", got)
		}
		b.call(204, "DELETE", files+"src", "", nil)
		b.call(404, "GET", files+"src/a.txt", "", nil)
	})
}

func TestUsers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.start(berth.Config{UserLimits: berth.UserLimits{Sessions: 1}})
		bob := b.as(w.bob)
		b.call(200, "PUT", "/api/tasks/login", onShop, nil)
		b.call(429, "PUT", "/api/tasks/second", onShop, nil)
		bob.call(404, "GET", "/api/tasks/login", "", nil)
		bob.call(200, "PUT", "/api/tasks/login", onShop, nil) // bob's own
		bob.call(204, "DELETE", "/api/tasks/login", "", nil)
		b.call(200, "GET", "/api/tasks/login", "", nil)

		mistyped := w.alice[:len(w.alice)-1] + "x"
		if mistyped == w.alice {
			mistyped = w.alice[:len(w.alice)-1] + "y"
		}
		for _, token := range []string{"", "x", newToken(), mistyped} {
			b.as(token).call(401, "GET", "/api/tasks/login", "", nil)
		}
		bob.call(403, "GET", "/metrics", "", nil)
		if got := b.as(w.admin).call(200, "GET", "/metrics", "", nil); !strings.Contains(got, "berth_session") {
			t.Errorf("the metrics are %q", got)
		}
		b.as("").call(200, "GET", "/healthz", "", nil)
		if got := bob.call(200, "GET", "/dashboard/tasks", "", nil); strings.Contains(got, "alice:login") {
			t.Error("bob sees alice's task in the dashboard")
		}
		if got := b.call(200, "GET", "/dashboard/tasks", "", nil); !strings.Contains(strings.ReplaceAll(got, "<wbr>", ""), "alice:login") {
			t.Error("alice does not see her task in the dashboard")
		}
		if got := b.call(200, "GET", "/", "", nil); !strings.Contains(got, "/tasks/login/terminal") {
			t.Errorf("alice's page is %s", got)
		}
		for _, token := range []string{w.alice, w.bob, w.admin} {
			if strings.Contains(w.readTokensFile(), token) {
				t.Error("the file has a token")
			}
		}
	})
}

func TestBadRequests(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.start(berth.Config{})
		b.call(400, "PUT", "/api/tasks/login", `{"repository": `, nil)
		b.call(400, "PUT", "/api/tasks/login", `{"repository": "/etc"}`, nil)
		b.call(400, "PUT", "/api/tasks/login", `{"repository": "`+shop+`", "prompt": "a\u0000b"}`, nil)
		b.call(404, "GET", "/api/tasks/login/terminal", "", nil)
		b.call(200, "PUT", "/api/tasks/login", onShop, nil)
		b.call(400, "GET", "/api/tasks/login/output?from=x", "", nil)
		b.call(404, "GET", "/api/tasks/login/terminal?id=none", "", nil)
		resp := b.send(t.Context(), "POST", "/api/tasks/login/cancel", "", "Sec-Fetch-Site", "cross-site")
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("another site gets %s", resp.Status)
		}
	})
}

// socket is a websocket to a terminal.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
	at   int64
}

// open opens the terminal of a task. query names one that is open.
func (b *backend) terminal(query string) (*socket, message) {
	b.t.Helper()
	conn, _, err := websocket.Dial(b.t.Context(), "ws://agenthost/api/tasks/login/terminal?rows=24&cols=80"+query, &websocket.DialOptions{
		HTTPClient: b.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + b.token}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.CloseNow() })
	s := &socket{t: b.t, conn: conn}
	m := s.message()
	s.at = m.From
	return s, m
}

func (s *socket) message() (m message) {
	s.t.Helper()
	kind, b, err := s.conn.Read(s.t.Context())
	if err != nil || kind != websocket.MessageText {
		s.t.Fatalf("in place of a message comes %q, %v", b, err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *socket) want(text string) {
	s.t.Helper()
	for got := ""; got != text; {
		kind, b, err := s.conn.Read(s.t.Context())
		if got += string(b); err != nil || kind != websocket.MessageBinary || !strings.HasPrefix(text, got) {
			s.t.Fatalf("the terminal shows %q, %v, want %q", got, err, text)
		}
		s.at += int64(len(b))
	}
}

func (s *socket) send(kind websocket.MessageType, text string) {
	s.t.Helper()
	if err := s.conn.Write(context.Background(), kind, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// TestTerminal: a shell outlives its websocket and its backend.
func TestTerminal(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.start(berth.Config{})
		b.call(200, "PUT", "/api/tasks/login", onShop, nil)
		s, opened := b.terminal("")
		s.want("[24x80]")
		s.send(websocket.MessageBinary, "ls")
		s.want("ls")
		s.send(websocket.MessageText, `{"rows": 30, "cols": 100}`)
		s.want("[30x100]")
		s.conn.CloseNow()

		s, again := b.terminal("&from=9&id=" + opened.ID)
		if again.ID != opened.ID || again.From != 9 {
			t.Errorf("the terminal is back as %+v", again)
		}
		s.want("[30x100]")
		b.stop()
		if _, _, err := s.conn.Read(t.Context()); err == nil {
			t.Error("the websocket outlives its process")
		}

		b = w.start(berth.Config{})
		s, _ = b.terminal("&from=17&id=" + opened.ID)
		s.send(websocket.MessageBinary, "pwd")
		s.want("pwd")
		go func() { // much longer than the session would live without its terminal
			time.Sleep(90 * time.Minute)
			s.send(websocket.MessageBinary, "\x04")
		}()
		if m := s.message(); m.Exit == nil || *m.Exit != 0 {
			t.Errorf("at its end comes %+v", m)
		}
	})
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

const shop = "https://github.com/acme/shop"

// visitor is a browser.
type visitor struct {
	t      *testing.T
	client *http.Client
	server *httptest.Server
}

// serve starts a proxy.
func serve(t *testing.T, p *proxy) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(newProxy(p))
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	p.domain, p.key = "preview.localhost:"+port, []byte("a key of this test")
	t.Cleanup(func() {
		server.CloseClientConnections()
		p.forward.Transport.(*http.Transport).CloseIdleConnections()
		server.Close()
	})
	return server
}

// newVisitor returns a browser without cookies. All host names lead to the proxy.
func newVisitor(t *testing.T, server *httptest.Server) *visitor {
	jar, _ := cookiejar.New(nil)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t: t, server: server, client: &http.Client{Jar: jar, Transport: transport}}
}

// get returns the status and the body of a page.
func (v *visitor) get(url string) (int, string, http.Header) {
	v.t.Helper()
	resp, err := v.client.Get(url)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

// wants checks an answer.
func (v *visitor) wants(url string, code int, text string) {
	v.t.Helper()
	if got, body, _ := v.get(url); got != code || !strings.Contains(body, text) {
		v.t.Errorf("GET %s: %d %q, want %d and %q", url, got, body, code, text)
	}
}

// devServer stands in for a development server on the port of its first argument.
func devServer(_ context.Context, c fake.Command) int {
	var port int
	fmt.Sscan(c.Args[1], &port)
	l, err := c.Listen(port)
	if err != nil {
		return 1
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "theirs", Value: "1", Domain: "preview.localhost"})
		http.SetCookie(w, &http.Cookie{Name: cookie, Value: "mine"})
		fmt.Fprintf(w, "%s of %s at %s, cookies %s", r.URL, r.Host, c.Args[1], r.Header.Get("Cookie"))
	})
	mux.HandleFunc("/reload", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: changed\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil) // refuses other origins, as development servers do
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, b, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, append([]byte("echo "), b...)) != nil {
				return
			}
		}
	})
	server := &http.Server{Handler: mux}
	_ = server.Serve(l) // until the command is killed
	server.Close()
	return -9
}

// run starts a session with a server in it.
func session(t *testing.T, p *berth.Provider, task string, args ...string) *berth.Session {
	t.Helper()
	s, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: task, UserID: "alice", Repository: shop})
	if err != nil {
		t.Fatal(err)
	}
	if len(args) > 0 {
		cmd := s.Command(context.Background(), args[0], args[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		listens(t, s)
	}
	return s
}

// listens waits until the session listens.
func listens(t *testing.T, s *berth.Session) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		ports, err := s.Ports(t.Context())
		if len(ports) > 0 {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("it does not listen: %v", err)
		}
	}
}

func TestPreview(t *testing.T) {
	provider, err := fake.NewProvider(fake.Options{Instant: true, Run: devServer})
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	p := &proxy{sessions: provider}
	server := serve(t, p)
	mine, other := session(t, provider, "mine", "serve", "3000"), session(t, provider, "other", "serve", "3000")
	at := func(s *berth.Session, port int, path string) string {
		return fmt.Sprintf("http://%d-%s.%s%s", port, s.ID(), p.domain, path)
	}

	v := newVisitor(t, server)
	v.wants(at(mine, 3000, "/"), 403, "not yours")
	v.wants(p.Link(mine, 3000, time.Hour), 200, "/ of localhost:3000 at 3000")
	v.wants(at(mine, 3000, "/a?b=c"), 200, "/a?b=c of localhost:3000 at 3000, cookies theirs=1")
	if code, _, header := v.get(at(mine, 3000, "/")); code != 200 || strings.Contains(strings.Join(header["Set-Cookie"], " "), "omain") || len(header["Set-Cookie"]) != 1 {
		t.Errorf("the server sets %v", header["Set-Cookie"])
	}
	v.wants(at(other, 3000, "/"), 403, "not yours")
	v.wants(at(mine, 3001, "/"), 403, "not yours")
	v.wants(p.Link(mine, 3001, time.Hour), 502, "nothing listens on port 3001")
	v.wants("http://"+p.domain+"/", 404, "no preview")
	v.wants("http://x-y."+p.domain+"/", 404, "no preview")
	v.wants("http://3000-s-none.evil."+p.domain+"/", 404, "no preview")

	stranger := newVisitor(t, server)
	word := p.sign(place{mine.ID(), 3000}, time.Now().Add(time.Hour))
	for _, wrong := range []string{"1", word[:len(word)-1] + "!", "9" + word, p.sign(place{other.ID(), 3000}, time.Now().Add(time.Hour)), p.sign(place{mine.ID(), 3000}, time.Now().Add(-time.Second))} {
		stranger.wants(at(mine, 3000, "/?"+parameter+"="+wrong), 403, "expired")
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, at(mine, 3000, "/"), nil)
		req.AddCookie(&http.Cookie{Name: cookie, Value: wrong})
		resp, err := stranger.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusForbidden {
			t.Errorf("the cookie %q gets %s", wrong, resp.Status)
		}
	}
	v.streams(at(mine, 3000, ""))

	if err := provider.TerminateSession(t.Context(), mine.ID()); err != nil {
		t.Fatal(err)
	}
	v.wants(at(mine, 3000, "/"), 410, "terminated")
}

// streams checks a websocket and server-sent events.
func (v *visitor) streams(base string) {
	t := v.t
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), base+"/socket", &websocket.DialOptions{
		HTTPClient: v.client, HTTPHeader: http.Header{"Origin": {base}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for _, text := range []string{"one", "two"} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := conn.Read(t.Context()); err != nil || string(b) != "echo "+text {
			t.Fatalf("the websocket gives %q, %v", b, err)
		}
	}
	resp, err := v.client.Get(base + "/reload")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "data: changed\n" { // while the stream goes on
		t.Errorf("the event is %q, %v", line, err)
	}
}

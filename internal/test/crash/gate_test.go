package crash_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// killPoint is a call to the engine at which a process is killed: one of its sort. The zero killPoint is none.
type killPoint struct {
	sort  string
	n     int  // the first is 1
	after bool // when the engine has answered, which the process does not learn
}

// gate passes calls to the machine's engine on, and kills the process that makes one of a sort.
type gate struct {
	address string // of the gate
	proxy   *httputil.ReverseProxy
	at      killPoint

	mu     sync.Mutex     // protects what follows
	count  map[string]int // of the calls so far, by sort
	calls  []killPoint    // they themselves, in their order
	victim *process       // nil = it has been killed
}

var idInPath = regexp.MustCompile(`^/v[0-9.]+|/(containers|exec|volumes|networks|images)/[^/]+`)

// sortOf names a call by its method and its path without what is different in each run.
func sortOf(r *http.Request) string {
	path := idInPath.ReplaceAllStringFunc(r.URL.Path, func(part string) string {
		kind, id, _ := strings.Cut(strings.TrimPrefix(part, "/"), "/")
		switch {
		case id == "":
			return ""
		case id == "create" || id == "json":
			return part
		}
		return "/" + kind + "/ID"
	})
	return r.Method + " " + path
}

func newGate(t *testing.T, engine string, at killPoint) *gate {
	t.Helper()
	network, target, _ := strings.Cut(engine, "://")
	socket := filepath.Join(t.TempDir(), "gate.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{address: "unix://" + socket, at: at, count: make(map[string]int)}
	g.proxy = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	g.proxy.FlushInterval = -1
	g.proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, target)
	}}
	g.proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	server := &http.Server{Handler: g}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return g
}

// ServeHTTP implements [http.Handler].
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sort := sortOf(r)
	g.mu.Lock()
	g.count[sort]++
	call := killPoint{sort: sort, n: g.count[sort]}
	g.calls = append(g.calls, call)
	call.after = g.at.after
	var victim *process
	if call == g.at {
		victim, g.victim = g.victim, nil
	}
	g.mu.Unlock()
	if victim == nil {
		g.proxy.ServeHTTP(w, r)
		return
	}
	if g.at.after {
		// The engine's answer goes nowhere. The call has to reach its end although the caller dies.
		answer, err := g.proxy.Transport.RoundTrip(outgoing(r))
		if err == nil {
			defer answer.Body.Close()
		}
	}
	victim.kill()
	panic(http.ErrAbortHandler)
}

// outgoing is a request as the engine is to get it.
func outgoing(r *http.Request) *http.Request {
	out := r.Clone(context.WithoutCancel(r.Context()))
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", "docker", ""
	return out
}

package dockerengine_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// stub is an engine in memory whose answers a test sets. It does not use the network, so that it works in a bubble of virtual
// time.
type stub struct {
	mu         sync.Mutex // protects the fields below
	id         string
	labels     []string
	containers []string                                          // the IDs of the running containers, which are all the pool's
	hang       map[string]bool                                   // the questions that it does not answer: "ping", "info", "list", or the ID of a container
	ghost      bool                                              // the containers have no processes
	mute       bool                                              // it accepts new connections, and sends nothing
	also       func(w http.ResponseWriter, r *http.Request) bool // answers in the stub's place, or returns false. nil = never
	asked      map[string]int                                    // how often it was asked: "inspect ID", "dial", …

	tls   *tls.Config // of the server; nil = it speaks plain HTTP
	conns chan net.Conn
	end   chan struct{}
}

// The launch, the pool and the address of a stub.
const (
	stubLaunch  = "launch-1"
	stubPool    = "p"
	stubAddress = "tcp://10.0.0.5:2376"
)

func newStub(t *testing.T) *stub {
	s := &stub{
		id: "engine-1", labels: []string{"berth.launch=" + stubLaunch}, hang: map[string]bool{}, asked: map[string]int{},
		conns: make(chan net.Conn), end: make(chan struct{}),
	}
	server := &http.Server{Handler: s, ErrorLog: log.New(t.Output(), "", 0)}
	var all sync.WaitGroup
	all.Go(func() { server.Serve(s) })
	t.Cleanup(func() {
		close(s.end)
		server.Close()
		all.Wait()
	})
	return s
}

// dial is Options.Dialer.
func (s *stub) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := pipe()
	s.mu.Lock()
	s.asked["dial"]++
	mute := s.mute
	s.mu.Unlock()
	if mute {
		go io.Copy(io.Discard, theirs)
		return ours, nil
	}
	select {
	case s.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		ours.Close()
		return nil, ctx.Err()
	}
}

// pipe is net.Pipe with a buffer, like a network's: a writer does not wait for the reader.
func pipe() (a, b net.Conn) {
	a, near := net.Pipe()
	far, b := net.Pipe()
	carry := func(to, from net.Conn) {
		io.Copy(to, from)
		to.Close()
		from.Close()
	}
	go carry(far, near)
	go carry(near, far)
	return a, b
}

// Accept, Close and Addr make the stub the listener of its server.
func (s *stub) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		if s.tls != nil {
			conn = tls.Server(conn, s.tls)
		}
		return conn, nil
	case <-s.end:
		return nil, errors.New("the stub was closed")
	}
}
func (s *stub) Close() error   { return nil }
func (s *stub) Addr() net.Addr { return &net.TCPAddr{} }

var apiPath = regexp.MustCompile(`^(?:/v[0-9.]+)?/(_ping|info|containers|exec|volumes)(?:/([^/]+)(?:/([^/]+))?)?$`)

// ServeHTTP implements [http.Handler].
func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.also != nil && s.also(w, r) {
		return
	}
	path := apiPath.FindStringSubmatch(r.URL.Path)
	if path == nil {
		http.NotFound(w, r)
		return
	}
	what, id, verb := path[1], path[2], path[3]
	w.Header().Set("Api-Version", "1.41")
	switch {
	case what == "_ping":
		s.answer(w, r, "ping", "OK")
	case what == "info":
		s.mu.Lock()
		info := map[string]any{"ID": s.id, "OSType": "linux", "Architecture": "x86_64", "Labels": s.labels}
		s.mu.Unlock()
		s.answer(w, r, "info", info)
	case what == "volumes" && id == "create":
		s.answer(w, r, "touch", map[string]any{"Name": "berth-touch"})
	case what == "volumes":
		s.answer(w, r, "notices", map[string]any{"Volumes": []any{}})
	case id == "json":
		s.mu.Lock()
		list := []any{}
		for _, id := range s.containers {
			list = append(list, map[string]any{"Id": id, "Names": []string{"/" + id}, "State": "running", "Labels": stubLabels})
		}
		s.mu.Unlock()
		s.answer(w, r, "list", list)
	case verb == "json" && what == "containers":
		s.count("inspect " + id)
		s.answer(w, r, id, map[string]any{
			"Id": id, "Name": "/" + id, "Config": map[string]any{"Labels": stubLabels},
			"State": map[string]any{"Running": true, "Status": "running"},
		})
	case verb == "exec" && !s.haunted(w):
		w.WriteHeader(http.StatusCreated)
		s.answer(w, r, id, map[string]any{"Id": "exec-1"})
	case verb == "top" && !s.haunted(w):
		s.answer(w, r, id, map[string]any{"Titles": []string{"PID"}, "Processes": [][]string{{"1"}}})
	case what == "exec" && verb == "start":
		http.Error(w, `{"message":"OCI runtime exec failed"}`, http.StatusInternalServerError)
	}
}

var stubLabels = map[string]string{"berth.pool": stubPool, "berth.pool-uid": "one", "berth.kind": "container"}

// answer answers a question, unless it is one that hangs.
func (s *stub) answer(w http.ResponseWriter, r *http.Request, what string, value any) {
	s.mu.Lock()
	hang := s.hang[what]
	s.mu.Unlock()
	if hang {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value)
}

// haunted answers like the engine of a ghost.
func (s *stub) haunted(w http.ResponseWriter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ghost {
		http.Error(w, `{"message":"process does not exist: not found"}`, http.StatusInternalServerError)
	}
	return s.ghost
}

func (s *stub) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *stub) count(what string) {
	s.set(func() { s.asked[what]++ })
}

func (s *stub) times(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for asked, times := range s.asked {
		if strings.HasPrefix(asked, what) {
			n += times
		}
	}
	return n
}

// endpoint returns the stub's endpoint without Trust.
func (s *stub) endpoint() orchestrator.Endpoint {
	return orchestrator.Endpoint{Pool: stubPool, PoolUID: "one", Launch: stubLaunch, Address: stubAddress}
}

// connect returns a host that is closed when the test ends.
func (s *stub) connect(t *testing.T) orchestrator.Host {
	t.Helper()
	return s.connectWith(t, dockerengine.Options{Logger: testLogger(t)})
}

// connectWith is connect with other options.
func (s *stub) connectWith(t *testing.T, opts dockerengine.Options) orchestrator.Host {
	t.Helper()
	opts.Dialer = s.dial
	if opts.Agent == nil {
		opts.Agent = func(string) ([]byte, error) { return []byte("agent"), nil }
	}
	h, err := dockerengine.New(opts).Connect(t.Context(), s.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

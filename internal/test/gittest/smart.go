package gittest

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/testenv"
)

// A SmartServer is git's own HTTP server over repositories of a test. Containers can reach it, and other machines
// cannot.
type SmartServer struct {
	t      testing.TB
	git    string
	root   string
	server *http.Server
	where  address

	mu      sync.Mutex // guards remotes
	remotes map[string]*Remote
}

// NewSmartServer starts a server that ends with the test. It needs git on this machine.
func NewSmartServer(t testing.TB) *SmartServer {
	t.Helper()
	s := &SmartServer{t: t, git: testenv.Git(t), root: t.TempDir(), remotes: make(map[string]*Remote)}
	docker := engine(t)
	listener, where, err := listen(t.Context(), docker)
	if err != nil {
		t.Fatal(err)
	}
	s.where = where
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(listener) }()
	t.Cleanup(func() {
		s.server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("gittest: %v", err)
		}
	})
	return s
}

// engine returns the machine's engine. It returns nil if there is none, and only this process is served.
func engine(t testing.TB) *client.Client {
	docker, err := client.New(client.FromEnv)
	if err != nil {
		return nil
	}
	t.Cleanup(func() { docker.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return nil
	}
	return docker
}

// Create makes a repository, served under /name.git with main as its default branch. name is like "owner/name".
func (s *SmartServer) Create(name string, history History) *Remote {
	s.t.Helper()
	r := &Remote{server: s, name: name, dir: filepath.Join(s.root, filepath.FromSlash(name)+".git")}
	r.git("init", "--quiet", "--bare", "--initial-branch=main", r.dir)
	for key, value := range map[string]string{
		"http.receivepack": "true", "uploadpack.allowFilter": "true", "core.compression": "1", "gc.auto": "0",
	} {
		r.git("-C", r.dir, "config", key, value)
	}
	r.fastImport(history)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remotes[name] = r
	return r
}

// Addr returns the host and port at which containers reach the server. On Linux, this machine reaches it there too.
func (s *SmartServer) Addr() string { return s.where.container }

// ServeHTTP hands a request to the repository that it names.
func (s *SmartServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name, _, found := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), ".git/")
	s.mu.Lock()
	r := s.remotes[name]
	s.mu.Unlock()
	if !found || r == nil {
		http.NotFound(w, req)
		return
	}
	r.serve(w, req)
}

// run runs git without the machine's or the user's settings.
func (s *SmartServer) run(cmd *exec.Cmd) string {
	s.t.Helper()
	cmd.Env = append(cmd.Environ(), s.environment()...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			s.t.Fatalf("gittest: %v: %v: %s", cmd.Args, err, exit.Stderr)
		}
		s.t.Fatalf("gittest: %v: %v", cmd.Args, err)
	}
	return strings.TrimSpace(string(out))
}

func (s *SmartServer) environment() []string {
	return []string{"HOME=" + s.root, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=", "GIT_TERMINAL_PROMPT=0"}
}

// hostURL returns the URL for a client of this process or machine.
func (s *SmartServer) hostURL(name string) string {
	return "http://" + s.where.local + "/" + name + ".git"
}

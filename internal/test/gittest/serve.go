package gittest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/moby/moby/client"
)

// A Server serves repositories that were made in memory.
type Server struct {
	server *http.Server
	where  address
	served chan struct{} // closed when the server has ended
}

// Serve serves repositories under /owner/name.git until Close. Containers of the engine can reach them, and other
// machines cannot. If the engine is nil, it serves this machine.
func Serve(ctx context.Context, docker *client.Client, repos ...*Repo) (*Server, error) {
	listener, where, err := listen(ctx, docker)
	if err != nil {
		return nil, err
	}
	s := &Server{
		server: &http.Server{Handler: Handler(repos...), ReadHeaderTimeout: 10 * time.Second},
		where:  where,
		served: make(chan struct{}),
	}
	go func() {
		defer close(s.served)
		s.server.Serve(listener)
	}()
	return s, nil
}

// URL returns a repository's URL for containers of the engine. On Linux it serves this machine too.
func (s *Server) URL(r *Repo) string { return "http://" + s.where.container + "/" + r.name + ".git" }

// LocalURL returns a repository's URL for this machine.
func (s *Server) LocalURL(r *Repo) string { return "http://" + s.where.local + "/" + r.name + ".git" }

// Close ends the server and every request under way.
func (s *Server) Close() error {
	err := s.server.Close()
	<-s.served
	return err
}

// Handler answers git's "dumb" HTTP transport for any number of repositories, each under /owner/name.git.
func Handler(repos ...*Repo) http.Handler {
	byName := make(map[string]*Repo)
	for _, r := range repos {
		byName[r.name] = r
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name, path, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), ".git/")
		r := byName[name]
		if r == nil || req.Method != http.MethodGet && req.Method != http.MethodHead {
			http.NotFound(w, req)
			return
		}
		content, exists := r.file(path)
		if !exists {
			http.NotFound(w, req)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Cache-Control", "no-cache")
		w.Write(content)
	})
}

package gittest

import (
	"bytes"
	"cmp"
	"crypto/subtle"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/url"
	"strings"
	"time"
)

// serve answers one request with the remote's fault, or by git.
func (r *Remote) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests++
	f := r.faults
	r.faults.flake = 0
	r.mu.Unlock()

	if f.delay > 0 {
		select {
		case <-time.After(f.delay):
		case <-req.Context().Done():
			return
		}
	}
	if f.refuse = cmp.Or(f.flake, f.refuse); f.refuse != 0 {
		http.Error(w, "refused by the test", f.refuse)
		return
	}
	if !f.admits(req) {
		w.Header().Set("WWW-Authenticate", `Basic realm="gittest"`)
		http.Error(w, "credentials are required", http.StatusUnauthorized)
		return
	}
	if f.echo {
		user, password, ok := req.BasicAuth()
		if !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="gittest"`)
			http.Error(w, "credentials are required", http.StatusUnauthorized)
			return
		}
		http.Error(w, "refused: "+req.Header.Get("Authorization")+"\n"+user+":"+password+"\n"+url.UserPassword(user, password).String(), http.StatusForbidden)
		return
	}
	if strings.Contains(req.URL.Path, "/info/lfs/") {
		r.lfs.serve(w, req, r.URL())
		return
	}
	// CGI has no chunked bodies, but git sends them in a large push.
	if req.ContentLength < 0 {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		req.Body, req.ContentLength, req.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	answer := &answer{ResponseWriter: w}
	if strings.HasSuffix(req.URL.Path, "/git-upload-pack") {
		answer.cutAfter = f.cutAfter
		answer.onPack = func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.fetches++
		}
	}
	r.backend(req).ServeHTTP(answer, req)
	if answer.cut {
		panic(http.ErrAbortHandler) // closes the connection without an end of the body
	}
}

// admits reports whether a request has the required credentials.
func (f faults) admits(req *http.Request) bool {
	if f.user == "" && f.password == "" {
		return true
	}
	user, password, _ := req.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(user), []byte(f.user))&
		subtle.ConstantTimeCompare([]byte(password), []byte(f.password)) == 1
}

// backend is git's own HTTP server for one request.
func (r *Remote) backend(req *http.Request) http.Handler {
	env := append(r.server.environment(), "GIT_PROJECT_ROOT="+r.server.root, "GIT_HTTP_EXPORT_ALL=1")
	if version := req.Header.Get("Git-Protocol"); version != "" {
		env = append(env, "GIT_PROTOCOL="+version)
	}
	return &cgi.Handler{
		Path: r.server.git, Args: []string{"http-backend"}, Root: "/", Dir: r.server.root,
		Env: env, InheritEnv: []string{"PATH"},
		Logger: log.New(io.Discard, "", 0), Stderr: io.Discard,
	}
}

var (
	errCut    = errors.New("cut off by the test")
	packMagic = []byte("PACK\x00\x00\x00\x02") // how a pack begins, in every protocol
)

// An answer notices when a pack begins and may end early.
type answer struct {
	http.ResponseWriter
	cutAfter int64 // after how many bytes the answer is cut; 0 = never
	cut      bool
	onPack   func() // called once, when the pack begins; nil = the answer cannot have a pack
	sent     int64
	tail     []byte // the last bytes of the previous write, which may have the first part of a pack's beginning
}

// Write passes bytes on until the answer is cut.
func (a *answer) Write(p []byte) (int, error) {
	a.look(p)
	if a.cutAfter > 0 && a.sent+int64(len(p)) > a.cutAfter {
		n, _ := a.ResponseWriter.Write(p[:a.cutAfter-a.sent])
		a.sent += int64(n)
		a.cut = true
		http.NewResponseController(a.ResponseWriter).Flush()
		return n, errCut
	}
	n, err := a.ResponseWriter.Write(p)
	a.sent += int64(n)
	return n, err
}

// Unwrap returns the real writer, for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) look(p []byte) {
	if a.onPack == nil {
		return
	}
	seen := append(a.tail, p...)
	if bytes.Contains(seen, packMagic) {
		a.onPack()
		a.onPack = nil
		return
	}
	a.tail = bytes.Clone(seen[max(0, len(seen)-len(packMagic)+1):])
}

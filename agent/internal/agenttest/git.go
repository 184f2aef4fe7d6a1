package agenttest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/berth-go/berth/internal/test/need"
)

// A GitServer serves repositories over HTTP, by git's own http-backend.
type GitServer struct {
	*httptest.Server
	Dir string
	// Password, if set, is asked for, with any user name.
	Password string
	tb       testing.TB
	requests atomic.Int64
}

// Requests returns how many requests the server has had.
func (s *GitServer) Requests() int { return int(s.requests.Load()) }

// NewGitServer serves the repositories below a new directory until the test ends.
func NewGitServer(tb testing.TB) *GitServer {
	tb.Helper()
	exe, err := exec.Command(need.Program(tb, "git"), "--exec-path").Output()
	if err != nil {
		tb.Fatal(err)
	}
	s := &GitServer{Dir: tempDir(tb), tb: tb}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(exe)), "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + s.Dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=berth",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*", "HOME=" + s.Dir,
		},
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if _, password, _ := r.BasicAuth(); s.Password != "" && password != s.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if r.ContentLength < 0 { // a large request of many refs, in chunks, which package cgi does not take
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		}
		backend.ServeHTTP(w, r)
	}))
	tb.Cleanup(s.Close)
	return s
}

// Repo makes a repository with a commit on main and returns its URL. More may be done to it with Git.
func (s *GitServer) Repo(name string, files map[string]string) string {
	s.tb.Helper()
	dir := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.tb.Fatal(err)
	}
	s.Git(name, "init", "-q", "-b", "main")
	s.Git(name, "config", "http.receivepack", "true")
	s.Git(name, "config", "receive.denyCurrentBranch", "ignore")
	s.Commit(name, files)
	return s.URL + "/" + name + "/.git"
}

// Commit commits files on the branch that is checked out.
func (s *GitServer) Commit(name string, files map[string]string) {
	s.tb.Helper()
	for file, text := range files {
		path := filepath.Join(s.Dir, name, file)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			s.tb.Fatal(err)
		}
	}
	if len(files) > 0 {
		s.Git(name, "add", ".")
		s.Git(name, "commit", "-q", "-m", "more")
	}
}

// Git runs git in a repository and returns what it prints.
func (s *GitServer) Git(name string, args ...string) string {
	s.tb.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = filepath.Join(s.Dir, name)
	cmd.Env = append(os.Environ(), "HOME="+s.Dir,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

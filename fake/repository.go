package fake

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
)

// Repo describes a remote repository.
type Repo struct {
	DefaultBranch string   // default "main"
	Branches      []string // besides the default one
	Size          int64    // bytes of its mirror. Default 1 MiB
	Missing       bool     // the server answers that there is none
	// Password makes the repository private: a fetch needs this password, with any user name.
	Password string
	Err      error // with which every fetch fails; a *agent.GitError is what git itself would say
}

// remote is a repository on its server. The Engine's mu protects it; branches is replaced, never changed, so that
// mirrors may hold it.
type remote struct {
	repo     Repo
	name     string
	pushes   int
	branches map[string]string // to the commit
	serves   chan struct{}     // closed when it serves again; nil while it does
}

func newRemote(name string, r Repo) *remote {
	if r.DefaultBranch == "" {
		r.DefaultBranch = "main"
	}
	if r.Size == 0 {
		r.Size = 1 << 20
	}
	m := &remote{repo: r, name: name, branches: make(map[string]string)}
	for _, b := range append(r.Branches, r.DefaultBranch) {
		m.branches[b] = m.commit(b)
	}
	return m
}

// commit makes up the commit of a branch after so many pushes.
func (m *remote) commit(branch string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "%s %s %d", m.name, branch, m.pushes))
	return hex.EncodeToString(sum[:])
}

// refusal returns why a fetch fails, in git's words.
func (m *remote) refusal(op string, f agent.Fetch) error {
	message := ""
	switch {
	case m.repo.Err != nil:
		return m.repo.Err
	case m.repo.Missing:
		message = fmt.Sprintf("remote: Repository not found.\nfatal: repository '%s/' not found", f.URL)
	case m.repo.Password == "" || f.Password == m.repo.Password:
		return nil
	case f.Password == "":
		message = fmt.Sprintf("fatal: could not read Username for '%s': terminal prompts disabled", f.URL)
	default:
		message = fmt.Sprintf("remote: Invalid username or password.\nfatal: Authentication failed for '%s/'", f.URL)
	}
	return &agent.GitError{Op: op, Message: message}
}

// Refuse makes every fetch of a remote repository fail with err; nil undoes it. See Repo.Err.
func (e *Engine) Refuse(spelling string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.remote(spelling).repo.Err = err
}

// HangRemote makes every fetch of a remote repository wait until its context ends, or serves it again: also a fetch
// that waits then goes on.
func (e *Engine) HangRemote(spelling string, hang bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch m := e.remote(spelling); {
	case hang && m.serves == nil:
		m.serves = make(chan struct{})
	case !hang:
		m.serve()
	}
}

// serve ends a hang. The caller holds the Engine's mu.
func (m *remote) serve() {
	if m.serves != nil {
		close(m.serves)
		m.serves = nil
	}
}

// Heads returns the branches of a remote repository and their commits.
func (e *Engine) Heads(spelling string) map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.remote(spelling).branches)
}

// identity is the key of a remote, for whatever spelling.
func identity(spelling string) string {
	if r, err := naming.ParseRepository(spelling); err == nil {
		return r.String()
	}
	return spelling
}

// SetRepository changes a remote repository, or makes it. What mirrors have fetched stays as it is.
func (e *Engine) SetRepository(spelling string, r Repo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.remotes[identity(spelling)] = newRemote(spelling, r)
}

// Push puts a new commit on a branch of a remote repository, makes the branch if it is not there, and returns the
// commit. Mirrors have it after their next fetch.
func (e *Engine) Push(spelling, branch string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.remote(spelling)
	m.pushes++
	m.branches = maps.Clone(m.branches)
	m.branches[branch] = m.commit(branch)
	return m.branches[branch]
}

// remote returns a remote repository; the usual one if nothing was said of it. The caller holds mu.
func (e *Engine) remote(spelling string) *remote {
	key := identity(spelling)
	m := e.remotes[key]
	if m == nil {
		m = newRemote(spelling, Repo{})
		e.remotes[key] = m
	}
	return m
}

package fake

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
)

// remotes holds the repositories on their servers, for all hosts of an Engine. Its exported methods read and change
// them.
type remotes struct {
	mu         sync.Mutex // protects the fields below and every remote; never held while waiting
	byIdentity map[string]*remote
	objects    map[string]*commit // that sessions have pushed
}

// request makes a request to a remote. If serves is not nil, the server answers when serves is closed. asks says that the
// server asks for a credential. refused is the failure that it answers, or nil.
func (r *remotes) request(op string, f agent.Fetch) (serves <-chan struct{}, asks bool, refused error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.of(f.URL)
	m.requests++
	return m.serves, m.repo.Password != "", m.refusal(op, f)
}

// Requests returns how many requests a remote repository has had: clones, fetches, and questions whether it admits a
// credential.
func (r *remotes) Requests(spelling string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of(spelling).requests
}

// content returns the result of a fetch of a remote. beside is Repo.Commits.
func (r *remotes) content(url string) (refs *refs, size int64, beside []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.of(url)
	return m.refs, m.repo.Size, m.repo.Commits
}

// serveAll ends every hang.
func (r *remotes) serveAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.byIdentity {
		m.serve()
	}
}

// Refuse makes every fetch of a remote repository fail with err. nil undoes it. See Repo.Err.
func (r *remotes) Refuse(spelling string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(spelling).repo.Err = err
}

// Lock makes a remote repository private with a password: see Repo.Password. "" makes it public.
func (r *remotes) Lock(spelling, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(spelling).repo.Password = password
}

// Flake makes the next n requests to a remote repository fail with err. It replaces an earlier Flake. After an error
// that agent/gitremote.Passing accepts, the request is repeated, as by the real agent. A fetch fails after 5 such
// errors.
func (r *remotes) Flake(spelling string, n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(spelling).fails = slices.Repeat([]error{err}, n)
}

// HangRemote(remote, true) makes every fetch of a remote repository wait until its context ends. HangRemote(remote,
// false) undoes that, and waiting fetches continue.
func (r *remotes) HangRemote(spelling string, hang bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch m := r.of(spelling); {
	case hang && m.serves == nil:
		m.serves = make(chan struct{})
	case !hang:
		m.serve()
	}
}

// serve ends a hang. The caller holds the mu of the remotes.
func (m *remote) serve() {
	if m.serves != nil {
		close(m.serves)
		m.serves = nil
	}
}

// Heads returns the branches of a remote repository and their commits.
func (r *remotes) Heads(spelling string) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.of(spelling).refs.branches)
}

// Tags returns the tags of a remote repository and their commits.
func (r *remotes) Tags(spelling string) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.of(spelling).refs.tags)
}

// identity returns the key of a remote. All spellings of a remote have the same key.
func identity(spelling string) string {
	if r, err := naming.ParseRepository(spelling); err == nil {
		return r.String()
	}
	return spelling
}

// SetRepository changes a remote repository, or makes it. Mirrors keep what they have fetched.
func (r *remotes) SetRepository(spelling string, repo Repo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := newRemote(spelling, repo)
	m.requests = r.of(spelling).requests
	r.byIdentity[identity(spelling)] = m
}

// Push puts a new commit on a branch of a remote repository, and returns the commit. It makes the branch if there is
// none. Mirrors have the commit after their next fetch.
func (r *remotes) Push(spelling, branch string) string { return r.push(spelling, branch, false) }

// PushLocks does what Push does with a commit that changes a file that decides whether a workspace is prepared again: see
// orchestrator.Prepare. A Push leaves these files as they were.
func (r *remotes) PushLocks(spelling, branch string) string { return r.push(spelling, branch, true) }

func (r *remotes) push(spelling, branch string, locks bool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.of(spelling)
	m.pushes++
	fresh := *m.refs
	fresh.branches = maps.Clone(fresh.branches)
	before := cmp.Or(fresh.branches[branch], fresh.branches[fresh.standard])
	commit := m.commit(branch)
	fresh.branches[branch] = commit
	m.refs = &fresh
	if m.parents == nil {
		m.parents, m.locks = make(map[string]string), make(map[string]string)
	}
	m.parents[commit], m.locks[commit] = before, m.locks[before]
	if locks {
		m.locks[commit] = commit
	}
	return commit
}

// locksOf returns what tells the deciding files of a commit from those of others.
func (r *remotes) locksOf(url, commit string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of(url).locks[commit]
}

// leads reports whether a commit is another one or an ancestor of it.
func (r *remotes) leads(url, commit, to string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.of(url)
	for ; to != ""; to = m.parents[to] {
		if to == commit {
			return true
		}
	}
	return false
}

// of returns a remote repository: the usual one, unless another was set. The caller holds mu.
func (r *remotes) of(spelling string) *remote {
	key := identity(spelling)
	m := r.byIdentity[key]
	if m == nil {
		m = newRemote(spelling, Repo{})
		r.byIdentity[key] = m
	}
	return m
}

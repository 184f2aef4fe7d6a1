// Package mirror keeps the bare mirror of a container's repository, which the sessions' checkouts borrow objects
// from. Objects are never pruned: a checkout may use a branch that the remote has deleted.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// UID owns the mirror. No session has it.
const UID = 9999

// Config is a Mirror's surroundings.
type Config struct {
	Dir     string   // the volume
	Env     []string // of the container
	Path    string   // where git is looked up
	Askpass string   // this program, for git to ask
	Table   *proc.Table
	Log     *slog.Logger
	// Borrowed tells whether a checkout exists that may need what the mirror has now.
	Borrowed func() bool
	// FewThreads says that its uid may have few processes: git is then to use one thread where it would use as many as
	// there are CPUs.
	FewThreads bool
}

// A Mirror is the mirror in a volume.
type Mirror struct {
	Config
	repo   string
	ctx    context.Context // ends with the mirror's use
	cancel context.CancelFunc
	flying sync.WaitGroup // every flight, to its end

	refs atomic.Pointer[Refs] // nil until the mirror is there

	mu      sync.Mutex // protects what follows
	flight  *flight    // the fetch that runs
	next    *flight    // the one that starts when it has ended
	fetched time.Time  // when the last fetch ended well
	size    int64      // on disk, at that time
	suspect bool       // something was wrong with the objects: look before the next fetch
	hurry   func()     // ends the consolidation that runs; nil if there is none, or it must not end
	leaveAt int        // how many packs are left alone after a consolidation that failed
}

// ErrBranchNotFound says that the mirror is up to date and has no such branch.
var ErrBranchNotFound = errors.New("no such branch")

// Open looks at what is in the volume and removes what was left half done. No git may run yet.
func Open(c Config) (*Mirror, error) {
	m := &Mirror{Config: c, repo: filepath.Join(c.Dir, "repo.git")}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if err := os.MkdirAll(m.home(), 0o755); err != nil {
		return nil, err
	}
	for dir, mode := range map[string]os.FileMode{c.Dir: 0o755, m.home(): 0o700} {
		if err := errors.Join(os.Chown(dir, UID, UID), os.Chmod(dir, mode)); err != nil {
			return nil, err
		}
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name() != "repo.git" && e.Name() != filepath.Base(m.home()) && e.Name() != stampName {
			os.RemoveAll(filepath.Join(c.Dir, e.Name()))
		}
	}
	if _, err := os.Stat(m.repo); err != nil {
		return m, nil
	}
	tidy(m.repo)
	os.Remove(filepath.Join(m.repo, "objects", "info", "alternates")) // named a directory that is gone now
	refs, err := readRefs(m.repo)
	if err != nil {
		c.Log.Warn("the mirror cannot be read and will be cloned anew", "error", err)
		m.suspect = true
		return m, nil
	}
	m.refs.Store(refs)
	m.suspect = !intact(m.repo, hashSize(refs))
	if info, err := os.Stat(m.stamp()); err == nil && !m.suspect {
		m.fetched, m.size = info.ModTime(), size(m.repo)
	}
	return m, nil
}

// Close ends what git does here, and returns when it has ended.
func (m *Mirror) Close() {
	m.mu.Lock()
	m.cancel()
	m.mu.Unlock()
	m.flying.Wait()
}

const stampName = ".fetched" // its time is that of the last fetch

func (m *Mirror) home() string  { return filepath.Join(m.Dir, ".home") }
func (m *Mirror) stamp() string { return filepath.Join(m.Dir, stampName) }

func hashSize(r *Refs) int {
	if r.Format == "sha256" {
		return 32
	}
	return 20
}

// Refs returns the refs after the last fetch; nil if there is no mirror.
func (m *Mirror) Refs() *Refs { return m.refs.Load() }

// Suspect notes that a checkout failed to find its objects. The next fetch will look into it.
func (m *Mirror) Suspect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.suspect = true
}

// flight is one fetch and all who wait for it.
type flight struct {
	request wire.Fetch
	begin   chan struct{} // closed when it is its turn
	done    chan struct{} // closed at its end, when result and err are set
	result  wire.Mirror
	err     error

	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex // protects what follows
	waiters map[int]func(wire.Progress)
	last    int
}

// Fetch brings the mirror up to date. A fetch that has begun before the call is no answer to it, but one that waits
// for its turn is; so any number of callers cost two fetches at most.
func (m *Mirror) Fetch(ctx context.Context, request wire.Fetch, progress func(wire.Progress)) (wire.Mirror, error) {
	for {
		if result, ok := m.fresh(request); ok {
			return result, nil
		}
		f := m.board(request)
		leave := f.join(progress)
		select {
		case <-f.done:
			leave()
		case <-ctx.Done():
			if leave() { // the last to leave ends it, and sees it end
				<-f.done
			}
			return wire.Mirror{}, context.Cause(ctx)
		}
		same := f.request.URL == request.URL && f.request.Username == request.Username && f.request.Password == request.Password
		if f.err != nil && m.ctx.Err() == nil && (!same || errors.Is(f.err, context.Canceled)) {
			continue // it failed for a reason that need not be this caller's
		}
		if f.err != nil {
			return wire.Mirror{}, f.err
		}
		return f.result, m.check(request.Branch)
	}
}

// fresh reports whether the mirror is new enough as it is.
func (m *Mirror) fresh(request wire.Fetch) (wire.Mirror, bool) {
	m.mu.Lock()
	age := time.Since(m.fetched)
	known := !m.fetched.IsZero() && !m.suspect
	size := m.size
	m.mu.Unlock()
	if !known || m.refs.Load() == nil || age < 0 || age >= request.MaxAge || request.Branch != "" && m.check(request.Branch) != nil {
		return wire.Mirror{}, false
	}
	return wire.Mirror{Size: size, Free: free(m.repo)}, true
}

// check says whether a branch is there. "" is the default branch, which an empty repository need not have.
func (m *Mirror) check(branch string) error {
	refs := m.refs.Load()
	if branch == "" {
		if refs.Empty() {
			return nil
		}
		if branch = refs.Head; branch == "" {
			return fmt.Errorf("%w: the remote's HEAD names none", ErrBranchNotFound)
		}
	}
	if _, ok := refs.Branch(branch); !ok {
		return fmt.Errorf("%w: %q", ErrBranchNotFound, branch)
	}
	return nil
}

// board returns a flight that has not begun, and makes it if there is none.
func (m *Mirror) board(request wire.Fetch) *flight {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next != nil {
		return m.next
	}
	f := &flight{request: request, begin: make(chan struct{}), done: make(chan struct{}), waiters: make(map[int]func(wire.Progress))}
	f.ctx, f.cancel = context.WithCancel(m.ctx)
	if m.ctx.Err() != nil { // closed: flying takes no more
		f.err = context.Cause(m.ctx)
		close(f.done)
		return f
	}
	if m.flight == nil {
		m.flight = f
		close(f.begin)
	} else {
		m.next = f
		if m.hurry != nil {
			m.hurry()
		}
	}
	m.flying.Go(func() { m.fly(f) })
	return f
}

// fly waits for its turn, fetches, answers, and lets the next one begin.
func (m *Mirror) fly(f *flight) {
	<-f.begin
	cold, err := m.update(f.ctx, f.request, f.report)
	var known *git.Error
	if err != nil && f.ctx.Err() == nil && !errors.As(err, &known) {
		err = &git.Error{Op: "fetch", Message: err.Error()} // a full disk shows itself here or in git
	}
	f.cancel()
	size := size(m.repo)
	m.mu.Lock()
	if err == nil {
		m.fetched, m.size = time.Now(), size
		m.suspect = false
	}
	m.mu.Unlock()
	if err == nil {
		f.result = wire.Mirror{Cold: cold, Fetched: true, Size: size, Free: free(m.repo)}
	}
	f.err = err
	close(f.done)
	if err == nil {
		m.consolidate()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flight, m.next = m.next, nil
	if m.flight != nil {
		close(m.flight.begin)
	}
}

// join adds a waiter, who calls leave when it waits no more.
func (f *flight) join(progress func(wire.Progress)) (leave func() (last bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	id := f.last
	f.waiters[id] = progress
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.waiters, id)
		if len(f.waiters) > 0 {
			return false
		}
		f.cancel()
		return true
	}
}

func (f *flight) report(p wire.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, progress := range f.waiters {
		progress(p) // keeps it for later: does not block
	}
}

// Package mirror keeps the bare mirror of a container's repository, which the sessions' checkouts borrow objects
// from. Objects are never pruned: a checkout may use a branch that the remote has deleted.
package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/environ"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/privacy"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/reach"
	"github.com/berth-go/berth/agent/internal/wire"
)

// UID owns the mirror. No session has it.
const UID = 9999

// Config is a Mirror's surroundings.
type Config struct {
	Dir     string // the volume
	Image   *environ.Image
	Askpass string // this program, for git to ask, and to connect by
	Egress  egress.Policy
	// Nameserver is where the names of remotes are looked up; see reach.Config.
	Nameserver netip.AddrPort
	Table      *proc.Table
	Log        *slog.Logger
	// FreePorts is called before each git that connects, which needs local ports.
	FreePorts func(context.Context)
	// Borrowed reports whether there is a checkout that may need the mirror's present objects.
	Borrowed func() bool
	// FreeRoom removes from the disk what nobody needs. nil = there is nothing.
	FreeRoom func(context.Context) error
	// FewThreads says that its uid may have few processes: git is then to use one thread where it would use as many as
	// there are CPUs.
	FewThreads bool
	Limits     Limits // set
}

// A Mirror is the mirror in a volume.
type Mirror struct {
	Config
	repo    string
	reach   *reach.Dialer
	proxied sync.Map        // by URL: whether the image names a proxy for it
	ctx     context.Context // ends with the mirror's use
	cancel  context.CancelFunc
	flying  sync.WaitGroup // every flight, to its end

	refs   atomic.Pointer[Refs] // nil until the mirror is there
	access access

	mu      sync.Mutex // protects what follows
	flight  *flight    // the fetch that runs
	next    *flight    // the one that starts when it has ended
	fetched time.Time  // when the last fetch ended well
	size    int64      // on disk, at that time
	suspect bool       // something was wrong with the objects: look before the next fetch
	hurry   func()     // ends the consolidation that runs; nil if there is none, or it must not end
	leaveAt int        // how many packs are left alone after a consolidation that failed

	measured map[string]Tree // by commit; one that is over a limit is counted as far as the limit

	gitChecked bool // git is new enough; for the flight that runs alone
}

// Open opens the mirror in the volume and removes unfinished work. No git may run yet.
func Open(c Config) (*Mirror, error) {
	m := &Mirror{Config: c, repo: filepath.Join(c.Dir, "repo.git"), measured: make(map[string]Tree)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.access.mark = privacy.Mark{Dir: c.Dir, Lock: m.home()}
	m.access.proofs, m.access.running = make(chan struct{}, maxProofs), make(map[[sha256.Size]byte]*proof)
	if err := os.MkdirAll(m.home(), 0o755); err != nil {
		return nil, err
	}
	for dir, mode := range map[string]os.FileMode{c.Dir: 0o755, m.home(): 0o700} {
		if err := errors.Join(os.Chown(dir, UID, UID), os.Chmod(dir, mode)); err != nil {
			return nil, err
		}
	}
	var err error
	m.reach, err = reach.Open(reach.Config{
		Policy: c.Egress, Nameserver: c.Nameserver, UID: UID, Socket: filepath.Join(m.home(), "reach"),
		ConnectTimeout: git.ConnectTimeout, AnswerTimeout: git.AnswerTimeout,
	})
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name() != "repo.git" && e.Name() != filepath.Base(m.home()) && e.Name() != stampName && e.Name() != privacy.Anonymous && e.Name() != CachesName && e.Name() != PreparedName && e.Name() != LostName {
			os.RemoveAll(filepath.Join(c.Dir, e.Name()))
		}
	}
	if _, err := os.Stat(m.repo); err != nil {
		return m, nil
	}
	tidy(m.repo)
	os.Remove(filepath.Join(m.repo, "objects", "info", "alternates")) // named a directory that is gone now
	refs, err := readRefs(m.repo, m.Limits)
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

// Close ends every git of the mirror, and returns when they have ended.
func (m *Mirror) Close() {
	m.mu.Lock()
	m.cancel()
	m.mu.Unlock()
	m.flying.Wait()
	m.reach.Close()
}

// CachesName is the name of a directory in the volume that is not the mirror's: it has the layers of shared caches.
const CachesName = ".caches"

// PreparedName is the name of another one: it has the prepared layers.
const PreparedName = ".prepared"

// LostName is the name of a third one: it has what sessions could not save.
const LostName = ".lost"

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

// Suspect records that a checkout did not find its objects. The next fetch checks the mirror.
func (m *Mirror) Suspect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.suspect = true
}

// A flight is one fetch and the callers that wait for it.
type flight struct {
	request wire.Fetch
	begin   chan struct{} // closed when it is its turn
	done    chan struct{} // closed at its end, when result and err are set
	result  wire.Mirror
	err     error

	// Commits that are wanted by their IDs, and why there is none of those that did not come. Mirror.mu protects wanted
	// until it begins.
	wanted  []string
	missing map[string]error

	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex // protects what follows
	waiters map[int]func(wire.Progress)
	last    int
}

// Fetch updates the mirror. A fetch that began before the call does not answer the call. A fetch that waits for its turn does. So
// any number of callers cost at most two fetches.
func (m *Mirror) Fetch(ctx context.Context, request wire.Fetch, progress func(wire.Progress)) (wire.Mirror, error) {
	for {
		if result, ok := m.fresh(ctx, request); ok {
			return m.admit(ctx, request, result, false, progress)
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
		same := reflect.DeepEqual(way(f.request), way(request))
		if f.err != nil && m.ctx.Err() == nil && (!same || errors.Is(f.err, context.Canceled)) {
			continue // it failed for a reason that need not be this caller's
		}
		if f.err != nil {
			return wire.Mirror{}, f.err
		}
		result, err := m.admit(ctx, request, f.result, same, progress)
		if err != nil {
			return wire.Mirror{}, err // before it says which branches there are
		}
		return result, m.check(ctx, request.Branch, f.missing[request.Branch])
	}
}

// way returns the part of a request that says how to reach the remote.
func way(r wire.Fetch) wire.Fetch {
	r.MaxAge, r.Branch, r.Prove = 0, "", false
	return r
}

// fresh reports whether the mirror is new enough as it is.
func (m *Mirror) fresh(ctx context.Context, request wire.Fetch) (wire.Mirror, bool) {
	m.mu.Lock()
	age := time.Since(m.fetched)
	known := !m.fetched.IsZero() && !m.suspect
	size := m.size
	m.mu.Unlock()
	if !known || m.refs.Load() == nil || age < 0 || age >= request.MaxAge || m.check(ctx, request.Branch, nil) != nil {
		return wire.Mirror{}, false
	}
	return wire.Mirror{Size: size, Free: free(m.repo)}, true
}

// check says whether a name is there and may be checked out. "" needs not be there. missing is why the commit of that ID could not be
// fetched, nil if it was not tried.
func (m *Mirror) check(ctx context.Context, name string, missing error) error {
	refs := m.refs.Load()
	if name == "" {
		if target, err := refs.standard(); err == nil && target.Commit != "" {
			tree, _ := m.measure(ctx, target.Commit) // other faults show themselves when it is checked out
			return m.Limits.checkTree(tree)
		}
		return nil
	}
	_, err := m.Resolve(ctx, refs, name)
	switch failed := (*git.Error)(nil); {
	case err == nil || missing == nil || !errors.Is(err, ErrBranchNotFound):
		return err
	case passing(missing) || !errors.As(missing, &failed):
		return missing
	default:
		return notFound(name, "no branch or tag reaches it, and the remote does not give it out: "+strings.ReplaceAll(failed.Message, name, "it"))
	}
}

// board returns a flight that has not begun, and makes it if there is none.
func (m *Mirror) board(request wire.Fetch) *flight {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next != nil {
		m.next.want(request.Branch)
		return m.next
	}
	f := &flight{request: request, begin: make(chan struct{}), done: make(chan struct{}), waiters: make(map[int]func(wire.Progress)), missing: make(map[string]error)}
	f.want(request.Branch)
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

// want adds a name to the commits that are wanted by their IDs, if it is one.
func (f *flight) want(name string) {
	if gitremote.IsCommit(name) && !slices.Contains(f.wanted, name) {
		f.wanted = append(f.wanted, name)
	}
}

// fly waits for its turn, fetches, answers, and lets the next one begin.
func (m *Mirror) fly(f *flight) {
	<-f.begin
	var cold bool
	err := m.retry(f.ctx, f.report, func() (err error) {
		cold, err = m.update(f.ctx, f.request, f.report)
		return err
	})
	for _, id := range f.wanted {
		if err != nil {
			break
		}
		if why := m.retry(f.ctx, f.report, func() error { return m.bring(f.ctx, f.request, id, f.report) }); why != nil {
			f.missing[id] = why
		}
	}
	if err == nil && len(f.wanted) > 0 && isShallow(m.repo) {
		err = m.load(m.repo) // the fetched history may end at commits of its own
	}
	var known *git.Error
	_, refused := errors.AsType[*egress.Refused](err)
	if err != nil && f.ctx.Err() == nil && !refused && !errors.As(err, &known) {
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

// join adds a waiter. The waiter calls leave when it does not wait any longer.
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

// Size returns the bytes of the mirror on disk after the last fetch.
func (m *Mirror) Size() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size
}

package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// Prepare says how the workspace of a repository is prepared: see docs/prepare.md.
type Prepare = agent.Prepare

// Prepared is what became of a workspace that was to be prepared. Err is nil if it is.
type Prepared struct {
	Commit string        // of the files on which it was prepared
	Took   time.Duration // how long that took, also if it failed
	Bytes  int64         // of the layer
	// Session is the one that has installed it, if it was promoted; "" = the commands have made it
	Session string
	Stored  bool  // it was in Config.Snapshots, and no command has run
	Err     error // why sessions start without; a *agent.PrepareError, or of the engine
}

// workspaces has workspaces prepared. It is a part of a Manager.
type workspaces struct {
	m        *Manager
	unshared sync.Once // for the log
	kept     layers

	mu      sync.Mutex // protects running
	running map[preparation]chan struct{}
	told    map[string]string // by a container's name: what of its devcontainer.json is not supported

	prepared, fetched, failed atomic.Int64
}

// A preparation is that of a branch in a container.
type preparation struct{ container, branch string }

// begin returns a channel that is closed when a preparation has ended. own says that the caller is to end it.
func (w *workspaces) begin(what preparation) (done chan struct{}, own bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if done := w.running[what]; done != nil {
		return done, false
	}
	if w.running == nil {
		w.running = make(map[preparation]chan struct{})
	}
	done = make(chan struct{})
	w.running[what] = done
	return done, true
}

func (w *workspaces) end(what preparation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.running[what])
	delete(w.running, what)
}

// PrepareOf returns how the workspace of a repository is prepared. That of a Config.PrepareFor that panics, or returns what no engine
// can do, is not: the log says why.
func (w *workspaces) PrepareOf(r naming.Repository) (p Prepare) {
	m := w.m
	if m.cfg.PrepareFor == nil {
		p.Devcontainer = m.cfg.Devcontainer
		return p
	}
	defer func() {
		if why := recover(); why != nil {
			m.failures.Report("cannot prepare workspaces", fmt.Errorf("Config.PrepareFor panicked: %v", why), "repository", r.String())
			p = Prepare{}
		}
	}()
	p = m.cfg.PrepareFor(r)
	p.Devcontainer = p.Devcontainer || m.cfg.Devcontainer
	if reason := p.Check(); reason != "" {
		m.failures.Report("cannot prepare workspaces", errors.New("Config.PrepareFor: "+reason), "repository", r.String())
		return Prepare{}
	}
	return p
}

// tell reports what a devcontainer.json has and nothing uses, unless it has been reported.
func (w *workspaces) tell(c store.Container, names []string) {
	const most = 1000
	text := strings.Join(names, ", ")
	w.mu.Lock()
	news := w.told[c.Name] != text
	if w.told == nil || len(w.told) >= most {
		w.told = make(map[string]string)
	}
	w.told[c.Name] = text
	w.mu.Unlock()
	if !news || text == "" {
		return
	}
	w.m.cfg.Logger.Warn("a devcontainer.json has what is not supported", "container", c.Name, "instance", c.Instance, "names", text)
	w.m.cfg.OnUnsupported(c, names)
}

// spareTime is what a preparation may take beside the making of two layers: its own, and one that is made before it.
const spareTime = 10 * time.Minute

// Prepare begins to prepare the workspace for sessions of a branch in a container, in the background, unless it is. done is closed when
// that has ended. It begins with what Config.Snapshots has. A Prepare that is zero prepares no more than that.
func (w *workspaces) Prepare(c store.Container, inside Inside, p Prepare, remote, branch string) (done <-chan struct{}) {
	what := preparation{c.ID, branch}
	ended, own := w.begin(what)
	if !own {
		return ended
	}
	m := w.m
	ok := m.tasks.spawn(func() {
		defer w.end(what)
		ctx, cancel := context.WithTimeout(m.ctx, 2*cmp.Or(p.Timeout, agent.DefaultPrepareTimeout)+spareTime)
		defer cancel()
		w.prepareOnce(ctx, c, inside, agent.Preparation{
			URL: remote, Branch: branch, Dir: CheckoutDir(c.SharingKey.Repository), Prepare: p, Env: m.cfg.Env,
		})
	})
	if !ok {
		w.end(what)
	}
	return ended
}

func (w *workspaces) prepareOnce(ctx context.Context, c store.Container, inside Inside, p agent.Preparation) {
	m := w.m
	attrs := []any{"container", c.Name, "instance", c.Instance}
	w.fetchLayer(ctx, c, inside, p, attrs)
	if p.Prepare.IsZero() {
		return
	}
	made, err := inside.Prepare(ctx, p, func(step agent.Progress) { m.cfg.OnProgress(c, step.Phase) })
	switch {
	case errors.Is(err, agent.ErrGone), errors.Is(err, agent.ErrClosed), errors.Is(err, agent.ErrBranchNotFound):
		return
	case errors.Is(err, errors.ErrUnsupported):
		made.Unshared, err = err.Error(), nil
	case err != nil:
		w.failed.Add(1)
		m.failures.Report("cannot prepare a workspace", err, attrs...)
		m.cfg.OnPrepared(c, Prepared{Err: err})
		return
	}
	w.tell(c, made.Unsupported)
	switch {
	case made.Unshared != "":
		w.unshared.Do(func() {
			m.cfg.Logger.Warn("workspaces are not prepared", append(attrs, "reason", made.Unshared)...)
			m.cfg.OnPrepared(c, Prepared{Err: &agent.PrepareError{Message: made.Unshared}})
		})
	case made.Failed != nil && made.Failed.Known:
	case made.Failed != nil:
		w.failed.Add(1)
		m.failures.Report("cannot prepare a workspace", made.Failed, attrs...)
		m.cfg.OnPrepared(c, Prepared{Took: made.Took, Err: made.Failed})
	case made.Made:
		w.prepared.Add(1)
		m.cfg.Logger.Info("a workspace is prepared", append(attrs, "commit", made.Commit, "bytes", made.Bytes, "took", made.Took)...)
		m.cfg.OnPrepared(c, Prepared{Commit: made.Commit, Took: made.Took, Bytes: made.Bytes})
		grown(ctx, m, c, made.Size, attrs)
		m.tasks.spawn(func() {
			ctx, cancel := context.WithTimeout(m.ctx, keepTime)
			defer cancel()
			w.keepLayer(ctx, c, inside, made, attrs)
		})
	}
}

// grown stores what a mirror takes with its layers, and makes room for it.
func grown(ctx context.Context, m *Manager, c store.Container, size int64, attrs []any) {
	err := m.retry.Update(ctx, []store.Key{store.SharingKey(c.Name), store.MirrorsKey(c.Instance)}, func(tx store.Tx) error {
		return resizeMirror(tx, c.Instance, c.Name, size, time.Now())
	})
	if err == nil {
		err = m.mirrors.evict(ctx, c.Instance)
	}
	if err != nil && !errors.Is(err, errInstanceGone) {
		m.failures.Report("cannot make room for layers", err, attrs...)
	}
}

// CheckoutDir is the name of the directory that holds a checkout.
func CheckoutDir(r naming.Repository) string {
	name := strings.Map(func(c rune) rune {
		if c <= ' ' || c == '/' || c == 0x7f {
			return '-'
		}
		return c
	}, r.Name())
	if len(name) > 100 || strings.Trim(name, ".-") == "" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") {
		return "repository"
	}
	return name
}

package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/orchestrator"
)

// drawKept decides whether there is a store of snapshots.
func (p *plan) drawKept() { p.keeps = p.dice.chance(0.4, "keeps") }

// keptStore is the Config.Snapshots of one replica, with its faults.
type keptStore struct {
	*fake.Snapshots
	w       *world
	replica string
}

// call decides what becomes of a call of the store.
func (k keptStore) call(verb fake.Verb, about string) (before, after error) {
	m, d := k.w.meddler, k.w.plan.dice
	if m.isDead(k.replica) {
		return errDead, errDead
	}
	what := fmt.Sprintf("%s %s %s", k.replica, verb, about)
	n, quiet := m.count(what)
	at := fmt.Sprint(what, " ", n)
	time.Sleep(d.upTo(time.Millisecond, "jitter", at))
	hit := func(t trouble) bool {
		return !quiet && k.w.plan.site(t, string(verb)) && d.chance(k.w.plan.p, string(t), at)
	}
	switch {
	case hit(failBefore):
		before = fmt.Errorf("%s: %w", verb, errInjected)
	case hit(failAfter):
		after = fmt.Errorf("%s, the reply: %w", verb, errInjected)
	case hit(slow):
		time.Sleep(d.upTo(8*time.Second, "slow", at))
	}
	if before != nil || after != nil {
		k.w.trace.saw("a call of the store of snapshots failed")
	}
	return before, after
}

// Put implements [orchestrator.SnapshotStore].
func (k keptStore) Put(ctx context.Context, name orchestrator.SnapshotName, content io.Reader) (stored orchestrator.Snapshot, err error) {
	before, after := k.call(fake.PutSnapshot, name.String())
	if before != nil {
		return stored, before
	}
	if stored, err = k.Snapshots.Put(ctx, name, content); err != nil {
		return stored, err
	}
	return stored, after
}

// Open implements [orchestrator.SnapshotStore].
func (k keptStore) Open(ctx context.Context, name orchestrator.SnapshotName) (io.ReadCloser, orchestrator.Snapshot, error) {
	before, after := k.call(fake.OpenSnapshot, name.String())
	if before != nil {
		return nil, orchestrator.Snapshot{}, before
	}
	content, found, err := k.Snapshots.Open(ctx, name)
	if err == nil && after != nil {
		content = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(content, found.Size/2), broken{after}), content} // its connection breaks
	}
	return content, found, err
}

// broken is a reader that fails.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// kept has what sessions have kept and promoted.
type kept struct {
	mu       sync.Mutex // protects what follows
	work     map[owned][]snapshotOf
	began    map[string]string // by a session's ID, that of the session with whose work it began
	promoted map[string]string // by a session's ID, the container in which its files may be a layer
}

// owned is whose a snapshot is.
type owned struct {
	user string
	repo int
}

// snapshotOf is a snapshot that a session was told to be kept.
type snapshotOf struct{ name, session string }

// workFile is what a session writes its ID into before it is kept or promoted.
const workFile = "work"

// from returns a snapshot with which a task may begin; nil = there is none.
func (k *kept) from(o owned) *snapshotOf {
	k.mu.Lock()
	defer k.mu.Unlock()
	if all := k.work[o]; len(all) > 0 {
		return &all[len(all)-1]
	}
	return nil
}

// allows reports whether a session may begin with what another one has written.
func (k *kept) allows(session, container, writer string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for by := session; by != ""; by = k.began[by] {
		if by == writer {
			return true
		}
	}
	return k.promoted[writer] == container
}

// whose is the owner of what a task keeps.
func (t *task) whose() owned { return owned{t.request().UserID, t.repo} }

// choose decides with which snapshot the task begins, if with any.
func (t *task) choose() {
	if t.plan.keeps && t.will(0.5, "begins with what was kept") {
		t.from = t.rules.kept.from(t.whose())
	}
}

// begins checks with what a session begins.
func (t *task) begins(s *berth.Session) {
	if !t.plan.keeps {
		return
	}
	if t.from != nil {
		t.trace.saw("a session began with what was kept")
		t.rules.kept.mu.Lock()
		t.rules.kept.began[s.ID()] = t.from.session
		t.rules.kept.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(t.ctx, time.Minute)
	defer cancel()
	got, err := s.FS(ctx).ReadFile(workFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && t.from != nil:
		t.rules.broken("session %s of %s lacks the work of %s", s.ID(), t.name, t.from.session)
	case err != nil: // it has ended, or does not answer
	case t.from != nil && string(got) != t.from.session:
		t.rules.broken("session %s of %s begins with the work of %s, not of %s", s.ID(), t.name, got, t.from.session)
	case !t.rules.kept.allows(s.ID(), s.Info().Container.Name, string(got)):
		t.rules.broken("session %s of %s begins with the work of %s, which nobody has promoted there", s.ID(), t.name, got)
	}
}

// keep keeps the work of a session, and promotes it.
func (t *task) keep(s *berth.Session) {
	if !t.plan.keeps {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, 2*time.Minute)
	defer cancel()
	files := s.FS(ctx)
	if t.from == nil && files.WriteFile(workFile, []byte(s.ID()), 0o644) != nil {
		return
	}
	if name := "of-" + t.name; t.from == nil && t.request().Branch == "" && t.will(0.5, "is kept") {
		info, err := s.Snapshot(ctx, name)
		switch {
		case err != nil:
			t.trace.saw("a session's work was not kept")
		case info.Name != name || info.TaskID != t.name || info.Size == 0:
			t.rules.broken("the snapshot of %s is %+v", t.name, info)
		default:
			t.trace.saw("a session's work was kept")
			t.rules.kept.mu.Lock()
			t.rules.kept.work[t.whose()] = append(t.rules.kept.work[t.whose()], snapshotOf{name, s.ID()})
			t.rules.kept.mu.Unlock()
		}
	}
	if t.will(0.3, "is promoted") {
		t.promote(ctx, s, t.will(0.4, "has a secret"))
	}
}

// ownSecret is the value of a variable that each session has, and not the pool.
const ownSecret = secret + "-of-a-session"

// promote promotes what a session has written. A session with a secret in its files is refused, and so is one that began with a snapshot.
func (t *task) promote(ctx context.Context, s *berth.Session, planted bool) {
	files := s.FS(ctx)
	if files.WriteFile(mark, []byte(s.ID()), 0o644) != nil || planted && files.WriteFile("config", []byte("token="+ownSecret), 0o644) != nil {
		return
	}
	if !planted && t.from == nil {
		t.rules.kept.mu.Lock()
		t.rules.kept.promoted[s.ID()] = s.Info().Container.Name
		t.rules.kept.mu.Unlock()
	}
	err := t.some(t.name, "promotes").Promote(ctx, s.ID())
	t.trace.add("%s is promoted: %v", t.name, err)
	switch {
	case err == nil && planted:
		t.rules.broken("session %s of %s was promoted with a secret", s.ID(), t.name)
	case err == nil && t.from != nil:
		t.rules.broken("session %s of %s was promoted, which began with a snapshot", s.ID(), t.name)
	case err == nil:
		t.trace.saw("a session was promoted")
	case errors.Is(err, agent.ErrNotPromoted):
		t.trace.saw("a session was not promoted")
		if !planted && t.from == nil {
			t.rules.broken("session %s of %s was not promoted: %v", s.ID(), t.name, err)
		}
	}
}

// unkept checks the error of a task that begins with a snapshot: what was kept is there.
func (t *task) unkept(err error) {
	if t.from != nil && (errors.Is(err, orchestrator.ErrNoSnapshot) || errors.Is(err, orchestrator.ErrSnapshotCorrupt)) {
		t.rules.broken("%s cannot begin with the work of %s, which was kept: %v", t.name, t.from.session, err)
	}
}

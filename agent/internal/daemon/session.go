package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent/internal/credential"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A session is an open session.
type session struct {
	wire.Session
	place    *place.Place
	room     *room.Keeper       // nil = the agent has no rooms
	starts   gate               // commands with open streams that do not run yet; the agent's own without a room
	leave    func()             // the mirror; nil = the session was not open
	layers   []func()           // release the layers of its caches and the tree of its checkout
	office   *credential.Office // answers its git's questions; nil = it has no helper
	ssh      *credential.Office // is the agent of its ssh; nil = it has none
	quota    bool               // the file system bounds what it has on the disk
	starting sync.WaitGroup     // starts that got in before closing
	history  history            // of its commands
	given    given              // the values that it was given
	lines    atomic.Int32       // connections of clients

	repositoryEnv []string // of its commands, as its repository says

	// sessions.mu protects what follows.
	closing bool      // takes no new command
	over    string    // why the agent has ended it; "" = it has not. It stays known until a client closes it
	running int       // commands, including those that are being started
	since   time.Time // when the last command ended, or the session was opened or renewed, whichever is latest
}

// sessions has the open sessions.
type sessions struct {
	mu   sync.Mutex // protects what follows, and the last fields of every session
	byID map[string]*session
	busy map[any]chan struct{} // IDs and uids that are being opened or closed; the channel is closed afterwards
}

// acquire lets one caller at a time open or close a session of that ID or uid. A late request to close an old session must not
// run while a new session with its uid is being opened.
func (ss *sessions) acquire(ctx context.Context, id string, uid int) (release func(), err error) {
	releaseID, err := ss.acquireOne(ctx, id)
	if err != nil {
		return nil, err
	}
	releaseUID, err := ss.acquireOne(ctx, uid)
	if err != nil {
		releaseID()
		return nil, err
	}
	return func() { releaseUID(); releaseID() }, nil
}

func (ss *sessions) acquireOne(ctx context.Context, key any) (release func(), err error) {
	for {
		ss.mu.Lock()
		other := ss.busy[key]
		if other == nil {
			mine := make(chan struct{})
			ss.busy[key] = mine
			ss.mu.Unlock()
			return func() {
				ss.mu.Lock()
				delete(ss.busy, key)
				ss.mu.Unlock()
				close(mine)
			}, nil
		}
		ss.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// usable returns a session that takes commands. The lock is held.
func (ss *sessions) usable(id string) (*session, error) {
	s := ss.byID[id]
	if s != nil && s.over != "" {
		return nil, &wire.Error{Code: wire.CodeOverLimit, Message: s.over}
	}
	if s == nil || s.closing {
		return nil, &wire.Error{Code: wire.CodeUnknownSession, Message: fmt.Sprintf("no session %q", id)}
	}
	return s, nil
}

// get is usable for callers without the lock.
func (ss *sessions) get(id string) (*session, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.usable(id)
}

// enter returns a session for a start. The caller calls starting.Done when the start is decided, and leave when the command
// does not run.
func (ss *sessions) enter(id string) (*session, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s, err := ss.usable(id)
	if err != nil {
		return nil, err
	}
	s.starting.Add(1)
	s.running++
	return s, nil
}

// leave records that a command has ended or that its start has failed.
func (ss *sessions) leave(s *session, ended bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s.running--
	if ended {
		s.since = time.Now()
	}
}

// activity returns how many commands a session has running, and for how long it has had none.
func (ss *sessions) activity(id string) (wire.Activity, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s, err := ss.usable(id)
	if err != nil {
		return wire.Activity{}, err
	}
	a := wire.Activity{Running: s.running}
	if s.running == 0 {
		a.Idle = time.Since(s.since).Seconds()
	}
	return a, nil
}

// renew makes a session count as used now.
func (ss *sessions) renew(id string) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s, err := ss.usable(id)
	if err == nil {
		s.since = time.Now()
	}
	return err
}

// touch is renew for a session that is known to be open.
func (ss *sessions) touch(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s.since = time.Now()
}

// find returns the session of an ID, and whether another session has the uid.
func (ss *sessions) find(id string, uid int) (s *session, taken bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, other := range ss.byID {
		if other.ID != id && other.UID == uid {
			taken = true
		}
	}
	return ss.byID[id], taken
}

func (ss *sessions) add(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.byID[s.ID] = s
}

func (ss *sessions) all() []*session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return slices.Collect(maps.Values(ss.byID))
}

// list returns the uids by ID.
func (ss *sessions) list() map[string]int {
	uids := make(map[string]int)
	for _, s := range ss.all() {
		uids[s.ID] = s.UID
	}
	return uids
}

// open makes a session's directories and checkout. made is false if the session was open.
func (d *Daemon) open(ctx context.Context, w wire.Session) (_ *wire.Checkout, made bool, err error) {
	if err := place.Check(w); err != nil {
		return nil, false, &wire.Error{Code: wire.CodeInvalid, Message: err.Error()}
	}
	release, err := d.sessions.acquire(ctx, w.ID, w.UID)
	if err != nil {
		return nil, false, err
	}
	defer release()
	s, taken := d.sessions.find(w.ID, w.UID)
	if taken || s != nil && s.UID != w.UID {
		return nil, false, &wire.Error{Code: wire.CodeInvalid, Message: fmt.Sprintf("session %q or uid %d is in use", w.ID, w.UID)}
	}
	if s != nil {
		if _, err := d.sessions.get(w.ID); err != nil {
			return nil, false, err
		}
		return &s.place.Checkout, false, nil
	}
	if err := d.opening.enter(ctx); err != nil {
		return nil, false, err
	}
	leaveGate := sync.OnceFunc(d.opening.leave)
	defer leaveGate()
	refs, leave, err := d.mirror.Enter(!w.Unproven)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if !made {
			leave()
		}
	}()
	target, err := d.mirror.Resolve(ctx, refs, w.Branch)
	if err != nil {
		return nil, false, err
	}
	if s, err = d.furnish(ctx, w, refs, target); err != nil {
		return nil, false, err
	}
	leaveGate() // what follows waits for servers
	if err := (populating{d, s}).do(ctx); err != nil {
		return nil, false, err
	}
	s.leave = leave
	s.place.Checkout.Checked = true
	d.sessions.add(s)
	d.spares.Refill() // for the next session: it is not to wait for a room
	d.checkouts.want(w, refs, target)
	return &s.place.Checkout, true, nil
}

// release lets go of the layers.
func (s *session) release() {
	for _, release := range s.layers {
		release()
	}
}

// clear ends the processes of a session and removes its files. It may be repeated.
func (d *Daemon) clear(ctx context.Context, s *session) error {
	s.office.Close()
	s.ssh.Close()
	if s.room != nil {
		if err := s.room.Close(ctx); err != nil {
			return err
		}
	}
	if s.quota {
		d.bound(ctx, s.ID, place.Usage{})
	}
	var err error
	if s.room == nil {
		err = d.places.Clear(ctx, s.ID, s.UID) // also ends its processes, by the uid
	} else {
		err = d.places.ClearRoom(s.ID, s.UID, s.room.LetGo)
	}
	if err != nil {
		return err
	}
	s.release()
	return nil
}

// closeSession kills all processes of a session and removes its files. The session need not be known.
func (d *Daemon) closeSession(ctx context.Context, c wire.Close) error {
	release, err := d.sessions.acquire(ctx, c.ID, c.UID)
	if err != nil {
		return err
	}
	defer release()
	s, taken := d.sessions.find(c.ID, c.UID)
	if err := place.Check(wire.Session{ID: c.ID, UID: c.UID, Dir: "x"}); err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: err.Error()}
	}
	if taken || s != nil && s.UID != c.UID {
		return &wire.Error{Code: wire.CodeInvalid, Message: fmt.Sprintf("uid %d is another session's", c.UID)}
	}
	if s == nil {
		s = &session{Session: wire.Session{ID: c.ID, UID: c.UID}}
	} else if err := d.stop(ctx, s); err != nil {
		return err
	}
	if err := d.empty(ctx, s); err != nil {
		return err
	}
	d.sessions.mu.Lock()
	delete(d.sessions.byID, c.ID)
	d.sessions.mu.Unlock()
	return nil
}

// stop kills the processes of a session in a room, and ends its starts. The session takes no more.
func (d *Daemon) stop(ctx context.Context, s *session) error {
	d.sessions.mu.Lock()
	s.closing = true
	d.sessions.mu.Unlock()
	s.office.Close()
	s.ssh.Close()
	d.commands.lines.hangUp(s) // before its servers end, or the clients would take what they have for the whole
	if s.room != nil {
		if err := s.room.Close(ctx); err != nil { // also ends the starts that are under way
			return err
		}
	}
	s.starting.Wait() // starts that came before; a start is bounded
	d.commands.lines.hangUp(s)
	d.commands.dropKept(s)
	return nil
}

// empty clears a session and lets go of the mirror. It may be repeated.
func (d *Daemon) empty(ctx context.Context, s *session) error {
	if err := d.clearing.enter(ctx); err != nil {
		return err
	}
	defer d.clearing.leave()
	if err := d.clear(ctx, s); err != nil {
		return err
	}
	if s.leave != nil {
		s.leave()
		s.leave = nil
	}
	return nil
}

// A gate bounds how many goroutines do something at once.
type gate chan struct{}

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }

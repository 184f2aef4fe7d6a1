package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/wire"
)

// session is an open session.
type session struct {
	wire.Session
	place    *place.Place
	starting sync.WaitGroup // starts that got in before closing

	// sessions.mu protects what follows.
	closing bool      // takes no new command
	running int       // commands, also those that are being started
	since   time.Time // when the last command ended; when the session was opened if there was none
}

// sessions are the open ones.
type sessions struct {
	mu   sync.Mutex // protects what follows, and the last fields of every session
	byID map[string]*session
	busy map[any]chan struct{} // IDs and uids of what is being opened or closed; the channel is closed after
}

// acquire lets one caller at a time open or close a session of that ID, or of that uid: who comes late to close an old
// session must not meet a new one whose place is just being made.
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
	if s == nil || s.closing {
		return nil, &wire.Error{Code: wire.CodeUnknownSession, Message: fmt.Sprintf("no session %q", id)}
	}
	return s, nil
}

// enter finds a session for a start. The caller calls starting.Done when that is decided, and leave when there is
// nothing that runs.
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

// leave notes that a command has ended, or that none came of its start.
func (ss *sessions) leave(s *session, ended bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s.running--
	if ended {
		s.since = time.Now()
	}
}

// activity returns what a session has running, or how long that has been nothing.
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

// find returns the session of an ID, and whether another has the uid.
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

// list returns the uids by ID.
func (ss *sessions) list() map[string]int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	uids := make(map[string]int, len(ss.byID))
	for id, s := range ss.byID {
		uids[id] = s.UID
	}
	return uids
}

// open makes a session's place, or finds it. made says which.
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
		return &s.place.Checkout, false, nil
	}
	if err := d.heavy.enter(ctx); err != nil {
		return nil, false, err
	}
	defer d.heavy.leave()
	p, err := d.places.Make(ctx, w, d.mirror.Refs())
	if err != nil {
		if !errors.Is(err, mirror.ErrBranchNotFound) && ctx.Err() == nil {
			d.mirror.Suspect() // its objects may be missing
		}
		return nil, false, err
	}
	d.sessions.add(&session{Session: w, place: p, since: time.Now()})
	return &p.Checkout, true, nil
}

// closeSession kills and removes all of a session, whether it is known or not.
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
	if s != nil {
		d.sessions.mu.Lock()
		s.closing = true
		d.sessions.mu.Unlock()
		s.starting.Wait() // what got in before; a start is bounded
	}
	if err := d.heavy.enter(ctx); err != nil {
		return err
	}
	defer d.heavy.leave()
	if err := d.places.Clear(ctx, c.ID, c.UID); err != nil {
		return err
	}
	d.sessions.mu.Lock()
	delete(d.sessions.byID, c.ID)
	d.sessions.mu.Unlock()
	return nil
}

// gate bounds how many do something at once.
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

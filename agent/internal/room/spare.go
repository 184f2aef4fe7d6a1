package room

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"
)

// Spares keeps a room ahead, because to open one takes longer than all else that a session's own processes wait for. A spare room has
// no session's files, and nothing runs in it but its init. It is safe for concurrent use. A nil *Spares never has a room.
type Spares struct {
	opener   Taker
	spec     Spec
	settings Settings
	log      *slog.Logger

	mu      sync.Mutex // protects what follows
	room    *Room      // nil = there is none
	id      string
	opening chan struct{} // closed when one was opened, or could not be; nil = none is being opened
	claimed bool          // a session waits for the one that is being opened
}

// NewSpares returns the keeper of a container's spare room, which is opened by the first Refill. The spec's ID is not used. Rooms
// of sessions have the same limits and settings.
func NewSpares(opener Taker, s Spec, settings Settings, log *slog.Logger) *Spares {
	s.Spare = true
	return &Spares{opener: opener, spec: s, settings: settings, log: log}
}

// spareTime bounds the opening of a spare room.
const spareTime = 20 * time.Second

// Refill opens a room in the background, unless there is one.
func (s *Spares) Refill() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening != nil || s.room != nil {
		return
	}
	opening := make(chan struct{})
	s.opening = opening
	go func() {
		defer close(opening)
		id := "spare-" + rand.Text()
		r, err := s.open(id)
		if err != nil {
			s.log.Warn("no spare room could be opened: the next session waits for one of its own", "error", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.room, s.id, s.opening, s.claimed = r, id, nil, false
	}()
}

func (s *Spares) open(id string) (*Room, error) {
	ctx, cancel := context.WithTimeout(context.Background(), spareTime)
	defer cancel()
	spec := s.spec
	spec.ID = id
	control, pid, err := s.opener.Open(ctx, spec)
	if err != nil {
		return nil, err
	}
	r, err := New(control, pid, s.settings)
	if err == nil {
		if err = r.Ready(ctx); err == nil {
			return r, nil
		}
	}
	s.discard(r, id)
	return nil, err
}

// take gives the spare room to a session. It returns nil if there is none that lives.
func (s *Spares) take(ctx context.Context, session Spec) (r *Room, id string) {
	if s == nil {
		return nil, ""
	}
	if r, id = s.next(ctx); r == nil {
		return nil, ""
	}
	session.ID = id
	err := errEnded
	select {
	case <-r.Done():
	default:
		err = s.opener.Take(ctx, session)
	}
	if err != nil {
		s.log.Warn("the spare room cannot be used: the session gets another one", "session", session.Dir, "error", err)
		go s.discard(r, id)
		return nil, ""
	}
	return r, id
}

// next hands the spare room out to one caller. If the room is being opened, the first caller waits for it.
func (s *Spares) next(ctx context.Context) (r *Room, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if opening := s.opening; opening != nil && !s.claimed {
		s.claimed = true
		s.mu.Unlock()
		select {
		case <-opening:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
	r, id = s.room, s.id
	s.room = nil
	return r, id
}

// discard ends a room that is of no use. r may be nil.
func (s *Spares) discard(r *Room, id string) {
	if r != nil {
		if err := kill(r); err != nil {
			s.log.Warn("a spare room cannot be killed", "error", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), sweepTime)
	defer cancel()
	if err := s.opener.Close(ctx, id); err != nil {
		s.log.Warn("what is left of a spare room could not be removed", "error", err)
	}
}

package session

import (
	"context"
	"sync"
)

// A Status is what this process knows of a session beside its record. All methods are safe for concurrent use.
type Status struct {
	mu           sync.Mutex              // protects what follows
	done         chan struct{}           // closed when the session has ended; made when a caller asks for it
	ended        bool                    // the session has ended; err says why
	err          error                   // see ended
	cancel       context.CancelCauseFunc // ends the creation that is under way in this process; nil = there is none
	created      chan struct{}           // closed when that creation is over, good or bad
	commands     int                     // that run in this process
	stopRenewing context.CancelFunc      // set while commands run; see Using
}

// closedChan is the Done channel of a session that ended before a caller asked for it.
var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done returns a channel that is closed when the session has ended.
func (s *Status) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		if s.ended {
			return closedChan
		}
		s.done = make(chan struct{})
	}
	return s.done
}

// Err returns why the session has ended; nil = it has not.
func (s *Status) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// End records that the session has ended, and why. The first reason counts.
func (s *Status) End(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended, s.err = true, err
	if s.done != nil {
		close(s.done)
	}
}

// interrupt ends the creation that is under way in this process, if there is one.
func (s *Status) interrupt(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel(cause)
	}
}

// awaitCreation waits until no creation is under way in this process.
func (s *Status) awaitCreation(ctx context.Context) error {
	s.mu.Lock()
	created, under := s.created, s.cancel != nil
	s.mu.Unlock()
	if !under {
		return nil
	}
	select {
	case <-created:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watched reports whether a caller waits for the session's end.
func (s *Status) watched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done != nil && !s.ended
}

// underCreation reports whether this process is creating the session.
func (s *Status) underCreation() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancel != nil
}

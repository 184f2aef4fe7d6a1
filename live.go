package berth

import (
	"context"
	"sync"
)

// live is what this process knows of a session that has not ended, beyond its record.
type live struct {
	mu           sync.Mutex    // protects what follows
	done         chan struct{} // closed when the session ended; made when somebody asks
	ended        bool          // it ended; err says why
	err          error
	cancel       context.CancelCauseFunc // ends the creation that is under way here; nil = none is
	made         chan struct{}           // closed when that creation has come to its end, good or bad
	running      int                     // commands that run
	stopRenewing context.CancelFunc      // while commands run; see lease.go
}

// creating notes that this process creates a session. The returned function says that it has finished.
func (p *Provider) creating(id string, cancel context.CancelCauseFunc) (finished func()) {
	l := &live{cancel: cancel, made: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live[id] = l
	if p.closed {
		cancel(ErrClosed)
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cancel = nil
		close(l.made)
	}
}

// interrupt ends the creation that is under way in this process, if there is one.
func (l *live) interrupt(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel(cause)
	}
}

// created returns nil when no creation is under way here.
func (l *live) created(ctx context.Context) error {
	l.mu.Lock()
	made, under := l.made, l.cancel != nil
	l.mu.Unlock()
	if !under {
		return nil
	}
	select {
	case <-made:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// closedChan is the Done of sessions that had ended before anybody asked.
var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (l *live) doneChan() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		if l.ended {
			return closedChan
		}
		l.done = make(chan struct{})
	}
	return l.done
}

// end notes that the session has ended.
func (l *live) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended, l.err = true, err
	if l.done != nil {
		close(l.done)
	}
}

func (l *live) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// watched reports whether somebody waits for the session's end.
func (l *live) watched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done != nil && !l.ended
}

// underCreation reports whether this process is creating the session.
func (l *live) underCreation() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cancel != nil
}

// beingCreated reports whether this process is creating the session of that ID.
func (p *Provider) beingCreated(id string) bool {
	p.mu.Lock()
	l := p.live[id]
	p.mu.Unlock()
	return l != nil && l.underCreation()
}

// track returns what this process knows of a session, and begins to know it.
func (p *Provider) track(id string) *live {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.live[id]
	if l == nil {
		l = new(live)
		p.live[id] = l
	}
	return l
}

// untrack forgets a session that has ended.
func (p *Provider) untrack(id string, err error) {
	p.mu.Lock()
	l := p.live[id]
	delete(p.live, id)
	p.mu.Unlock()
	if l != nil {
		l.end(err)
	}
}

package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// A call is an operation that outlives its connection. A client that connects again finds it by its ID.
type call struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed when it has ended

	mu       sync.Mutex // protects what follows
	watchers int
	abandon  *time.Timer // runs while the call has no watcher
	step     *wire.Progress
	changed  chan struct{} // closed and replaced when step changes
	last     wire.Line     // the result, once ended
	undo     func()        // removes what the call made; nil if there is nothing
	heard    bool          // the result was sent
}

// calls has the running calls, and for a while the ended ones.
type calls struct {
	mu   sync.Mutex
	byID map[string]*call
}

// join returns the call of an ID. If there is none, it starts run for a new one. The caller calls leave in the end.
func (cs *calls) join(id string, run func(ctx context.Context, c *call) wire.Line) *call {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.byID[id]
	if c == nil {
		ctx, cancel := context.WithCancel(context.Background())
		c = &call{cancel: cancel, ended: make(chan struct{}), changed: make(chan struct{})}
		cs.byID[id] = c
		go func() {
			defer cancel()
			c.last = run(ctx, c)
			close(c.ended)
			time.AfterFunc(3*wire.Grace, func() { cs.forget(id) })
		}()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchers++; c.abandon != nil {
		c.abandon.Stop()
		c.abandon = nil
	}
	return c
}

// drop forgets a call for its caller. The request that begins the call may still be on its way; it then finds that the call was
// given up.
func (cs *calls) drop(id string) *call {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.byID[id]
	ended := make(chan struct{})
	close(ended)
	cs.byID[id] = &call{
		cancel: func() {}, ended: ended, changed: make(chan struct{}),
		last: wire.Line{Done: true, Error: &wire.Error{Code: wire.CodeCanceled, Message: "the call was given up"}},
	}
	time.AfterFunc(3*wire.Grace, func() { cs.forget(id) })
	return c
}

func (cs *calls) forget(id string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.byID, id)
}

// leave records that a watcher has gone. A call is given up if no watcher comes back.
func (c *call) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchers--; c.watchers == 0 {
		c.abandon = time.AfterFunc(wire.Grace, func() {
			c.cancel()
			<-c.ended
			if !c.wasHeard() {
				c.giveUp()
			}
		})
	}
}

// giveUp ends a call. If the call has succeeded already, its result is removed.
func (c *call) giveUp() {
	c.cancel()
	<-c.ended
	c.mu.Lock()
	undo := c.undo
	c.undo = nil
	c.mu.Unlock()
	if undo != nil {
		undo()
	}
}

// delivered records that the result was sent: from now on only the caller may undo the call.
func (c *call) delivered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = true
}

func (c *call) wasHeard() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

func (c *call) progress(p wire.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step = &p
	close(c.changed)
	c.changed = make(chan struct{})
}

// look returns the last step, and a channel that is closed when there is a newer one.
func (c *call) look() (*wire.Progress, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.step, c.changed
}

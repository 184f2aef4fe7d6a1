package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// call is an operation that outlives the connection that it came by: who connects again finds it by its ID.
type call struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed when it has ended

	mu       sync.Mutex // protects what follows
	watchers int
	abandon  *time.Timer // runs while nobody watches
	step     *wire.Progress
	changed  chan struct{} // closed and replaced when step is
	last     wire.Line     // once ended
	undo     func()        // removes what the call made; nil if there is nothing
	heard    bool          // the result was sent
}

// calls are those that run, and for a while those that have ended.
type calls struct {
	mu   sync.Mutex
	byID map[string]*call
}

// join returns the call of an ID, which run is started for if there is none. The caller leaves it.
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

// drop forgets a call at its caller's wish. The request that begins it may still be on its way, and finds then that
// it was given up.
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

// leave notes that a watcher has gone. A call that nobody comes back for is given up.
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

// giveUp ends a call; if it has succeeded already, what it made is removed.
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

// delivered notes that the result was sent: from now on only its caller may undo the call.
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

// look returns the last step and what tells of the next.
func (c *call) look() (*wire.Progress, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.step, c.changed
}

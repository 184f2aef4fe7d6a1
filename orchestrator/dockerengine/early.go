package dockerengine

import (
	"context"
	"errors"
	"sync"
)

// errPurging ends what a host does early, while the host is purged.
var errPurging = errors.New("the pool's things are being removed from the engine")

// early is the work that a host does before anybody needs its result: Prefetch, and to make the warden again. A Purge ends
// it and lets no other begin, so that the work makes nothing after the Purge has looked. The zero value is ready for use.
type early struct {
	mu      sync.Mutex
	holds   int                     // calls of stop that were not taken back; while there are any, nothing begins
	ctx     context.Context         // of all work; nil = none has begun since the last stop
	cancel  context.CancelCauseFunc // of ctx
	running sync.WaitGroup          // Add only under mu and while holds is 0
}

// do runs fn in the caller's goroutine. Its context ends with ctx, and with errPurging if stop is called.
func (e *early) do(ctx context.Context, fn func(context.Context) error) error {
	stopped, err := e.enter()
	if err != nil {
		return err
	}
	defer e.running.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(stopped, func() { cancel(errPurging) })()
	return fn(ctx)
}

// start runs fn in a goroutine of its own, or not at all while the host is purged.
func (e *early) start(fn func(context.Context)) {
	ctx, err := e.enter()
	if err != nil {
		return
	}
	go func() {
		defer e.running.Done()
		fn(ctx)
	}()
}

// enter notes that work begins, which calls running.Done at its end. stopped ends when stop is called.
func (e *early) enter() (stopped context.Context, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.holds > 0 {
		return nil, errPurging
	}
	if e.ctx == nil {
		e.ctx, e.cancel = context.WithCancelCause(context.Background())
	}
	e.running.Add(1)
	return e.ctx, nil
}

// stop ends the work and returns when it has ended. No other begins until resume is called.
func (e *early) stop() (resume func()) {
	e.mu.Lock()
	e.holds++
	if e.cancel != nil {
		e.cancel(errPurging)
	}
	e.ctx = nil
	e.mu.Unlock()
	e.running.Wait()
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.holds--
	}
}

package dockerengine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth/internal/loop"
)

// leaveGrace is how long the last caller of a flight that gives up waits until the flight is undone. Undoing goes on after
// that too. But if it is quick, the caller returns when nothing is left.
const leaveGrace = 3 * time.Second

// flights lets concurrent callers that want the same thing share one task that makes it. The task runs as long as one
// caller waits for it. The zero value is ready for use.
//
// Package singleflight of golang.org/x/sync does not fit, because it does not undo a call, pass on its progress, or end it
// with its last caller.
type flights[T any] struct {
	mu      sync.Mutex            // protects the fields below, and those fields of each flight that say so
	running map[string]*flight[T] // by the key of the thing
	closed  bool
	all     sync.WaitGroup // the flights; Add only under mu and while not closed
}

// flight is one run of a task.
type flight[T any] struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when value and err are set
	value  T
	err    error

	waiters   map[chan string]struct{} // callers, by the channel that tells them of progress. Protected by flights.mu
	abandoned bool                     // no caller is left, and no caller may join. Protected by flights.mu
}

// A task makes a thing. say tells every caller of its progress.
type task[T any] func(ctx context.Context, say func(string)) (T, error)

// do returns the thing that fn makes, or that a running task of the same key makes. undo gets a thing that was made when no
// caller was left. progress is called from the caller's goroutine only. Both may be nil.
func (f *flights[T]) do(ctx context.Context, key string, progress func(string), fn task[T], undo func(T)) (T, error) {
	var zero T
	if progress == nil {
		progress = func(string) {}
	}
	for ctx.Err() == nil {
		fl, news, err := f.join(ctx, key, fn, undo)
		if err != nil {
			return zero, err
		}
		if news != nil {
			return f.wait(ctx, fl, news, progress)
		}
		select { // it was abandoned: the next flight begins when it is undone
		case <-fl.done:
		case <-ctx.Done():
		}
	}
	return zero, context.Cause(ctx)
}

// join finds or starts the flight for key. If news is nil, the flight takes no more callers.
func (f *flights[T]) join(ctx context.Context, key string, fn task[T], undo func(T)) (fl *flight[T], news chan string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, nil, errHostClosed
	}
	fl = f.running[key]
	if fl != nil && fl.abandoned {
		return fl, nil, nil
	}
	if fl == nil {
		// The flight may outlive the caller that starts it, so it has the values of the caller's context but not its end.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		fl = &flight[T]{cancel: cancel, done: make(chan struct{}), waiters: map[chan string]struct{}{}}
		if f.running == nil {
			f.running = map[string]*flight[T]{}
		}
		f.running[key] = fl
		f.all.Go(func() { f.run(ctx, key, fl, fn, undo) })
	}
	news = make(chan string, 16)
	fl.waiters[news] = struct{}{}
	return fl, news, nil
}

// run is the flight's goroutine.
func (f *flights[T]) run(ctx context.Context, key string, fl *flight[T], fn task[T], undo func(T)) {
	defer fl.cancel()
	value, err := fn(ctx, func(line string) { f.tell(fl, line) })
	if f.land(key, fl, value, err, false) {
		return
	}
	if err == nil && undo != nil {
		undo(value)
	}
	f.land(key, fl, value, context.Canceled, true)
}

// land ends the flight with its result. It does not land an abandoned flight, and returns false, unless it must.
func (f *flights[T]) land(key string, fl *flight[T], value T, err error, must bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.abandoned && !must {
		return false
	}
	fl.value, fl.err = value, err
	delete(f.running, key)
	close(fl.done)
	return true
}

// tell passes a line on to every caller. A caller that is slow to receive misses it.
func (f *flights[T]) tell(fl *flight[T], line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for news := range fl.waiters {
		select {
		case news <- line:
		default:
		}
	}
}

// wait returns the flight's result, or gives it up when ctx ends.
func (f *flights[T]) wait(ctx context.Context, fl *flight[T], news chan string, progress func(string)) (T, error) {
	for {
		select {
		case line := <-news:
			progress(line)
		case <-fl.done:
			for len(news) > 0 { // no other goroutine receives from news
				progress(<-news)
			}
			return fl.value, fl.err
		case <-ctx.Done():
			return f.leave(ctx, fl, news)
		}
	}
}

// leave removes a caller from the flight. It ends the flight if that was the last caller.
func (f *flights[T]) leave(ctx context.Context, fl *flight[T], news chan string) (T, error) {
	landed, last := f.quit(fl, news)
	if landed { // at the same moment: the thing is made, and will not be undone
		return fl.value, fl.err
	}
	if last {
		_ = loop.Wait(context.WithoutCancel(ctx), leaveGrace, fl.done)
	}
	var zero T
	return zero, context.Cause(ctx)
}

// quit does what leave says. landed: the flight had ended already. last: the caller was the last one.
func (f *flights[T]) quit(fl *flight[T], news chan string) (landed, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-fl.done:
		return true, false
	default:
	}
	delete(fl.waiters, news)
	if len(fl.waiters) > 0 {
		return false, false
	}
	fl.abandoned = true
	fl.cancel()
	return false, true
}

// drain returns when the flights that run now have ended, or ctx has.
func (f *flights[T]) drain(ctx context.Context) {
	f.mu.Lock()
	running := slices.Collect(maps.Values(f.running))
	f.mu.Unlock()
	for _, fl := range running {
		select {
		case <-fl.done:
		case <-ctx.Done():
			return
		}
	}
}

// close refuses new flights, ends the running ones, and returns when they have ended.
func (f *flights[T]) close() {
	f.mu.Lock()
	f.closed = true
	for _, fl := range f.running {
		fl.cancel()
	}
	f.mu.Unlock()
	f.all.Wait()
}

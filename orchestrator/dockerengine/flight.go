package dockerengine

import (
	"context"
	"sync"
	"time"
)

// leaveGrace is how long the last caller that gives up waits for the undoing of what it has begun. Undoing goes on
// after that too; but a caller that can wait a moment finds nothing left.
const leaveGrace = 3 * time.Second

// flights lets concurrent callers that want the same thing share one making of it. The making goes on as long as one
// caller waits for it. The zero value is ready for use.
type flights[T any] struct {
	mu      sync.Mutex            // protects the fields below and what flight says it does
	running map[string]*flight[T] // by what is made
	closed  bool
	all     sync.WaitGroup // the makings; Add only under mu and while not closed
}

// flight is one making of a thing.
type flight[T any] struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when value and err are set
	value  T
	err    error

	waiters   map[chan string]struct{} // callers, by where they hear of progress. Protected by flights.mu
	abandoned bool                     // no caller is left, and none may join. Protected by flights.mu
}

// A task makes a thing. say tells every caller how it goes.
type task[T any] func(ctx context.Context, say func(string)) (T, error)

// do returns what fn makes, or what a running fn of the same key makes. undo, which may be nil, is given a thing that
// was made when nobody was left to take it. progress, which may be nil, is called from the caller's goroutine only.
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
		select { // it was abandoned; the next one begins when its traces are gone
		case <-fl.done:
		case <-ctx.Done():
		}
	}
	return zero, context.Cause(ctx)
}

// join finds or starts the flight for key. Without news the flight takes no more callers.
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
		// The flight may outlive the caller that starts it, so it takes the caller's values but not its end.
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

// land ends the flight with its result. It refuses while nobody waits for that, unless it must.
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

// tell passes a line on to every caller. One that is slow to listen misses it.
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
			for len(news) > 0 { // this goroutine is the only one that takes from it
				progress(<-news)
			}
			return fl.value, fl.err
		case <-ctx.Done():
			return f.leave(ctx, fl, news)
		}
	}
}

// leave takes a caller off the flight, and ends the flight with its last caller.
func (f *flights[T]) leave(ctx context.Context, fl *flight[T], news chan string) (T, error) {
	landed, last := f.quit(fl, news)
	if landed { // at the same moment: what it made is there, and will not be undone
		return fl.value, fl.err
	}
	if last {
		timer := time.NewTimer(leaveGrace)
		defer timer.Stop()
		select {
		case <-fl.done:
		case <-timer.C:
		}
	}
	var zero T
	return zero, context.Cause(ctx)
}

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

// close refuses new flights, ends those that are under way, and returns when they have ended.
func (f *flights[T]) close() {
	f.mu.Lock()
	f.closed = true
	for _, fl := range f.running {
		fl.cancel()
	}
	f.mu.Unlock()
	f.all.Wait()
}

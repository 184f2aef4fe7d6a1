package rows

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/pause"
)

// Batcher runs Updates, those that wait at the same time in one transaction.
type Batcher struct {
	backend Backend
	wrote   func(keys []store.Key)
	workers sync.WaitGroup
	ctx     context.Context // ends when Close has waited for long
	cancel  context.CancelFunc

	mu      sync.Mutex
	more    sync.Cond // there is something in waiting, or closed is set
	waiting []*update // guarded by mu
	closed  bool      // guarded by mu
}

const (
	// mostKeys bounds a batch, except that it holds one Update.
	mostKeys = 200
	// mostTries bounds how often the same is done again after an error that passes by itself.
	mostTries = 6
	// closeGrace is how long Close waits for transactions under way before it cuts them off.
	closeGrace = 5 * time.Second
)

// NewBatcher returns a Batcher that runs up to n transactions at a time. wrote is called after a commit with the keys
// that it wrote, before its Updates return.
func NewBatcher(backend Backend, n int, wrote func(keys []store.Key)) *Batcher {
	b := &Batcher{backend: backend, wrote: wrote}
	b.more.L = &b.mu
	b.ctx, b.cancel = context.WithCancel(context.Background())
	for range n {
		b.workers.Go(b.work)
	}
	return b
}

// update is one call of Update.
type update struct {
	ctx  context.Context
	keys []store.Key
	fn   func(store.Tx) error

	state  atomic.Int32 // one of the constants below
	done   chan struct{}
	answer error
	result *outcome // of the last run

	// Used by the worker that has it.
	alone bool // it gets a transaction of its own
	tries int
}

const (
	waits = iota // its caller may still leave
	runs         // its caller waits for what comes of it
	left         // its caller has left
)

// Update is [store.Store.Update].
func (b *Batcher) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	u := &update{ctx: ctx, keys: slices.Clone(keys), fn: fn, done: make(chan struct{})}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return store.ErrClosed
	}
	b.waiting = append(b.waiting, u)
	b.more.Signal()
	b.mu.Unlock()

	select {
	case <-u.done:
	case <-ctx.Done():
		if u.state.CompareAndSwap(waits, left) {
			return ctx.Err()
		}
		<-u.done
	}
	if r := u.result; r != nil && r.panic != nil && u.answer == nil {
		panic(r.panic)
	} else if r != nil && r.goexit && u.answer == nil {
		runtime.Goexit()
	}
	return u.answer
}

// Close waits for the Updates that run, and refuses all others.
func (b *Batcher) Close() {
	b.mu.Lock()
	b.closed = true
	waiting := b.waiting
	b.waiting = nil
	b.more.Broadcast()
	b.mu.Unlock()
	for _, u := range waiting {
		u.refuse(store.ErrClosed)
	}
	cut := time.AfterFunc(closeGrace, b.cancel)
	b.workers.Wait()
	cut.Stop()
	b.cancel()
}

func (u *update) finish(answer error) {
	u.answer = answer
	close(u.done)
}

// work takes batch after batch.
func (b *Batcher) work() {
	for next := time.Duration(0); ; {
		updates, ok := b.take()
		if !ok {
			return
		}
		err := b.do(updates)
		if !isAgain(err) {
			next = 0
			continue
		}
		next = min(2*next+5*time.Millisecond, time.Second)
		_ = pause.Sleep(b.ctx, next) // take knows the end
	}
}

// take waits for Updates, and takes those that make a batch.
func (b *Batcher) take() (updates []*update, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.waiting) == 0 {
		if b.closed {
			return nil, false
		}
		b.more.Wait()
	}
	n, keys := 0, 0
	for n < len(b.waiting) {
		u := b.waiting[n]
		keys += max(1, len(u.keys))
		if n > 0 && (u.alone || keys > mostKeys) {
			break
		}
		n++
		if u.alone {
			break
		}
	}
	updates = slices.Clone(b.waiting[:n])
	clear(b.waiting[:n])
	b.waiting = b.waiting[n:]
	if len(b.waiting) > 0 {
		b.more.Signal()
	} else {
		b.waiting = nil
	}
	return updates, true
}

// do runs a batch. Its error is why it must run again, or has failed.
func (b *Batcher) do(updates []*update) error {
	updates = slices.DeleteFunc(updates, func(u *update) bool { return u.state.Load() == left })
	if len(updates) == 0 {
		return nil
	}
	batch, err := begin(b.ctx, b.backend, updates)
	if err != nil {
		b.failed(updates, err)
		return err
	}
	updates = slices.DeleteFunc(updates, func(u *update) bool { return !u.state.CompareAndSwap(waits, runs) })
	if err := batch.runAll(updates); err != nil {
		batch.txn.Rollback()
		b.failed(updates, err)
		return err
	}
	err = batch.commit()
	if (err == nil || errors.Is(err, store.ErrUnknownOutcome)) && len(batch.written) > 0 {
		b.wrote(batch.written)
	}
	if isAgain(err) {
		b.failed(updates, err)
		return err
	}
	var again []*update
	for _, u := range updates {
		if runsAgain, answer := settle(u, err, len(updates) > 1); runsAgain {
			again = append(again, u)
		} else {
			u.finish(answer)
		}
	}
	b.putBack(again)
	return err
}

// failed answers the Updates of a batch that has changed nothing, or has them run again.
func (b *Batcher) failed(updates []*update, err error) {
	again := make([]*update, 0, len(updates))
	for _, u := range updates {
		u.result = nil
		switch {
		case isAgain(err):
			if u.tries++; u.tries < mostTries {
				again = append(again, u)
				continue
			}
		case len(updates) > 1 && b.ctx.Err() == nil: // it may be another one's fault
			u.alone = true
			again = append(again, u)
			continue
		}
		u.refuse(err)
	}
	b.putBack(again)
}

// putBack has Updates run again, before all others, unless their callers have given up.
func (b *Batcher) putBack(updates []*update) {
	updates = slices.DeleteFunc(updates, func(u *update) bool {
		err := u.ctx.Err()
		if err != nil {
			u.refuse(err)
		}
		return err != nil
	})
	if len(updates) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		for _, u := range updates {
			u.refuse(store.ErrClosed)
		}
		return
	}
	for _, u := range updates {
		u.result = nil
		u.state.CompareAndSwap(runs, waits)
	}
	b.waiting = append(updates, b.waiting...)
	b.more.Signal()
}

// refuse answers an Update of which nothing was committed.
func (u *update) refuse(err error) {
	if u.state.Load() == runs || u.state.CompareAndSwap(waits, runs) {
		u.result = nil
		u.finish(err)
	}
}

func isAgain(err error) bool {
	var a again
	return errors.As(err, &a)
}

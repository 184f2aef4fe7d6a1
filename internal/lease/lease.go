// Package lease chooses one of several processes for work that only one may do at a time.
//
// The holder of a lease raises its Beat in the store. A process that has not seen the Beat change for the lease's whole term,
// on its own monotonic clock, takes the lease over with a higher Fence. The clocks of two processes are never compared. A
// holder that writes through store.Fenced, or calls store.CheckFence in each Update, writes nothing after it has slept
// through its term.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// ErrLost is the cause of the context of work whose lease was lost.
var ErrLost = errors.New("the lease was lost")

// Keeper keeps trying to hold one lease.
type Keeper struct {
	Store  store.Store
	ID     string        // of the lease
	Holder string        // of this Keeper, and of no other
	Term   time.Duration // how long it may go without a beat
	// Failed is called with every failure, and with the loss of the lease. It may be nil
	Failed func(what string, err error, args ...any)
	// Renewed is called after each try to renew the lease. It may be nil
	Renewed func(err error)
	// Alive is called after each look, about every fifteenth of the term, that shows the lease in the hands of another holder
	// which is not known to be dead. It may be nil
	Alive func()
}

// Run takes the lease whenever it is free, and runs work while it holds it. When the lease is lost, work's context ends
// with ErrLost, and work should return within a third of the term. Run returns when ctx ends, after work has returned and
// the lease is released. It also returns when work returns while it holds the lease.
func (k *Keeper) Run(ctx context.Context, work func(ctx context.Context, held store.Lease)) {
	wake, stop := k.Store.Notify(store.LeaseKey(k.ID)) // another process may release it
	defer stop()
	watch := Watch{Term: k.Term}
	for ctx.Err() == nil {
		asked := time.Now()
		held, err := k.try(ctx, &watch)
		switch {
		case err != nil && ctx.Err() == nil:
			k.warn("cannot take the lease", err)
		case held != nil:
			if k.hold(ctx, *held, asked, work) {
				return
			}
			watch = Watch{Term: k.Term}
		}
		_ = loop.Wait(ctx, k.Term/15, wake) // a lease that has ended is found so much later
	}
}

// try takes the lease if it is free, or returns nil.
func (k *Keeper) try(ctx context.Context, watch *Watch) (*store.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, k.Term/3)
	defer cancel()
	seen, err := store.Read[*store.Lease](ctx, k.Store, store.LeaseKey(k.ID))
	if err != nil {
		return nil, err
	}
	// A lease of this Keeper was taken by a commit whose reply was lost, or was not released. Nothing works under it.
	if !watch.Dead(seen, time.Now()) && seen.Holder != k.Holder {
		if k.Alive != nil {
			k.Alive()
		}
		return nil, nil
	}
	var held *store.Lease
	err = k.Store.Update(ctx, []store.Key{store.LeaseKey(k.ID)}, func(tx store.Tx) error {
		held = nil
		current, err := store.Find[*store.Lease](tx, store.LeaseKey(k.ID))
		if err != nil {
			return err
		}
		if (current == nil) != (seen == nil) || current != nil && (current.Fence != seen.Fence || current.Beat != seen.Beat) {
			return nil // another process was faster
		}
		// If the lease was removed and its holder takes it again, its beat must be another one than before.
		next := store.Lease{ID: k.ID, Holder: k.Holder, Fence: 1, Beat: firstBeat(), Term: k.Term}
		if current != nil {
			next.Fence, next.Beat = current.Fence+1, current.Beat+1
		}
		held = &next
		return tx.Put(&next)
	})
	if err != nil {
		return nil, err
	}
	return held, nil
}

// firstBeat returns a random number, with which no other lease begins.
func firstBeat() uint64 {
	var b [8]byte
	rand.Read(b[2:])
	return binary.BigEndian.Uint64(b[:])
}

// hold runs work and renews the lease until one of the two ends. last is a time before the lease was taken. hold reports
// whether work returned while the lease was held.
func (k *Keeper) hold(ctx context.Context, held store.Lease, last time.Time, work func(context.Context, store.Lease)) bool {
	workCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(workCtx, held)
	}()
	// Other processes count the term from a time after last. Its last third is for work to return.
	left := func() time.Duration { return time.Until(last.Add(k.Term * 2 / 3)) }
	end := func(cause error) {
		cancel(cause)
		<-done
		k.release(ctx, held)
	}
	next := time.NewTimer(time.Until(last.Add(k.Term / 3)))
	defer next.Stop()
	var beats sync.WaitGroup
	defer beats.Wait()
	for {
		select {
		case <-done:
			k.release(ctx, held)
			return ctx.Err() == nil && workCtx.Err() == nil
		case <-ctx.Done():
			end(context.Cause(ctx))
			return false
		case <-next.C:
		}
		sent := time.Now()
		err := k.beatWithin(ctx, held, left(), &beats)
		if k.Renewed != nil && ctx.Err() == nil {
			k.Renewed(err)
		}
		switch {
		case ctx.Err() != nil:
		case err == nil:
			last = sent
			next.Reset(time.Until(sent.Add(k.Term / 3)))
		case errors.Is(err, store.ErrFenced) || left() <= 0:
			k.warn("lost the lease", err)
			end(ErrLost)
			return false
		default:
			k.warn("cannot renew the lease", err)
			next.Reset(min(k.Term/30, left()))
		}
	}
}

// beatWithin calls beat, and returns after timeout at the latest: an Update does not obey its context during its
// commit, and the term continues for other processes.
func (k *Keeper) beatWithin(ctx context.Context, held store.Lease, timeout time.Duration, beats *sync.WaitGroup) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	result := make(chan error, 1)
	beats.Go(func() {
		defer cancel()
		result <- k.beat(ctx, held)
	})
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case err := <-result:
		return err
	case <-late.C:
		return context.DeadlineExceeded
	}
}

// beat renews the lease.
func (k *Keeper) beat(ctx context.Context, held store.Lease) error {
	return k.change(ctx, held, func(l *store.Lease) { l.Beat++ })
}

// change changes the lease, if it is still held.
func (k *Keeper) change(ctx context.Context, held store.Lease, fn func(*store.Lease)) error {
	return store.Fenced(k.Store, held).Update(ctx, []store.Key{held.Key()}, func(tx store.Tx) error {
		current, err := store.Get[*store.Lease](tx, held.Key())
		if err != nil {
			return err
		}
		fn(current)
		return tx.Put(current)
	})
}

// release gives the lease up, so that the next holder need not wait for the term to pass. It is called after work has
// returned.
func (k *Keeper) release(ctx context.Context, held store.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.Term/3)
	defer cancel()
	err := k.change(ctx, held, func(l *store.Lease) {
		l.Holder = ""
		l.Fence++
	})
	if err != nil && !errors.Is(err, store.ErrFenced) {
		k.warn("cannot release the lease", err)
	}
}

func (k *Keeper) warn(what string, err error) {
	if k.Failed != nil {
		k.Failed(what, err, "lease", k.ID)
	}
}

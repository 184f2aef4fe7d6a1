// Package lease lets one of several processes do what only one may do at a time.
//
// The holder of a lease raises its Beat in the store. Whoever has not seen the Beat change for the lease's whole term,
// on its own monotonic clock, takes it over with a higher Fence: the clocks of two processes are never compared. The
// holder passes its lease to store.CheckFence in each Update, so that one that slept through its term writes nothing.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"time"

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
	// Failed is told of every failure, and of the loss of the lease. nil = nobody
	Failed func(what string, err error, args ...any)
}

// Run holds the lease whenever it can be had, and runs work while it does: work's context ends, with ErrLost, when
// the lease is lost, and work should then return, within a third of the term. Run returns when ctx ends, after work
// has returned and the lease is released, or when work returns while it holds the lease.
func (k *Keeper) Run(ctx context.Context, work func(ctx context.Context, held store.Lease)) {
	wake, stop := k.Store.Notify(store.LeaseKey(k.ID)) // it may be released
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
		sleep(ctx, k.Term/15, wake) // so much later than its end a lease is found to have ended
	}
}

// try takes the lease if it is free, or returns nil.
func (k *Keeper) try(ctx context.Context, watch *Watch) (*store.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, k.Term/3)
	defer cancel()
	var seen *store.Lease
	err := k.Store.View(ctx, func(v store.View) (err error) {
		seen, err = store.Find[*store.Lease](v, store.LeaseKey(k.ID))
		return err
	})
	if err != nil {
		return nil, err
	}
	// One that is ours was taken by a commit whose reply was lost, or was not released: nothing works under it.
	if !watch.Dead(seen, time.Now()) && seen.Holder != k.Holder {
		return nil, nil
	}
	var held *store.Lease
	err = k.Store.Update(ctx, []store.Key{store.LeaseKey(k.ID)}, func(tx store.Tx) error {
		held = nil
		now, err := store.Find[*store.Lease](tx, store.LeaseKey(k.ID))
		if err != nil {
			return err
		}
		if (now == nil) != (seen == nil) || now != nil && (now.Fence != seen.Fence || now.Beat != seen.Beat) {
			return nil // somebody was faster
		}
		// One that was removed, and is taken again by its holder, must not look as it did before.
		next := store.Lease{ID: k.ID, Holder: k.Holder, Fence: 1, Beat: firstBeat(), Term: k.Term}
		if now != nil {
			next.Fence, next.Beat = now.Fence+1, now.Beat+1
		}
		held = &next
		return tx.Put(&next)
	})
	if err != nil {
		return nil, err
	}
	return held, nil
}

// firstBeat returns a number that no other lease begins with.
func firstBeat() uint64 {
	var b [8]byte
	rand.Read(b[2:])
	return binary.BigEndian.Uint64(b[:])
}

// hold runs work and beats until one of them ends. last is a time before the lease was taken. It reports whether work
// returned while the lease was held.
func (k *Keeper) hold(ctx context.Context, held store.Lease, last time.Time, work func(context.Context, store.Lease)) bool {
	workCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(workCtx, held)
	}()
	// Others count their term from a time after last. The last third of it is for work to return.
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

// beatWithin is beat, or says in time that it does not know: an Update whose commit is under way heeds no context, and the
// others count on meanwhile.
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
	return k.Store.Update(ctx, []store.Key{held.Key()}, func(tx store.Tx) error {
		if err := store.CheckFence(tx, held); err != nil {
			return err
		}
		now, err := store.Get[*store.Lease](tx, held.Key())
		if err != nil {
			return err
		}
		now.Beat++
		return tx.Put(now)
	})
}

// release gives the lease up, so that the next holder need not wait for the term to pass. It is called when work has
// returned, and not before.
func (k *Keeper) release(ctx context.Context, held store.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.Term/3)
	defer cancel()
	err := k.Store.Update(ctx, []store.Key{held.Key()}, func(tx store.Tx) error {
		if err := store.CheckFence(tx, held); err != nil {
			return err
		}
		now, err := store.Get[*store.Lease](tx, held.Key())
		if err != nil {
			return err
		}
		now.Holder = ""
		now.Fence++
		return tx.Put(now)
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

func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}

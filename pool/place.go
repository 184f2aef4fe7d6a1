package pool

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// ErrNoSlot says that an instance takes no session now: it is full, or not ready.
var ErrNoSlot = errors.New("no free slot")

// Place takes a slot on an instance for one session and returns the uid that is the session's there. It is a step of
// the transaction that joins the session to a container. ErrNoSlot: the instance is full, not ready or gone.
func Place(tx store.Tx, instance string) (uid int, err error) {
	in, err := store.Find[*store.Instance](tx, store.InstanceKey(instance))
	if err != nil {
		return 0, err
	}
	if !HasSlot(in) {
		return 0, ErrNoSlot
	}
	if uid, err = in.UIDs.Take(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoSlot, err)
	}
	in.Sessions++
	return uid, tx.Put(in)
}

// HasSlot reports whether an instance takes one more session. nil does not.
func HasSlot(in *store.Instance) bool {
	return takes(in) && in.Sessions < in.Slots
}

// takes reports whether an instance takes sessions as long as it has slots.
func takes(in *store.Instance) bool {
	return in != nil && in.State == store.InstanceReady && !in.Drain && in.Wish == ""
}

// Release gives back the slot and the uid that Place took. It is a step of the transaction that ends the session, and of
// no other, because the uid may soon be another session's. It does nothing if the instance is gone or the uid is free.
func Release(tx store.Tx, instance string, uid int, now time.Time) error {
	in, err := store.Find[*store.Instance](tx, store.InstanceKey(instance))
	if err != nil || in == nil || !in.UIDs.Has(uid) {
		return err
	}
	in.UIDs.Free(uid)
	in.Sessions--
	if in.Sessions == 0 {
		in.IdleSince = now
	}
	return tx.Put(in)
}

// candidates is how many instances of each sort Candidates returns.
const candidates = 8

// Candidates returns instances that may take a new container of a sharing key, the best first: those that hold its
// mirror, the latest user of it first, then the fullest. sharing may be nil. The transaction that places a session must
// check again, by Place.
func Candidates(v store.View, sharing *store.Sharing) ([]string, error) {
	var ids []string
	if sharing != nil {
		for _, id := range slices.Backward(sharing.Mirrors) { // the last one was used last
			in, err := store.Find[*store.Instance](v, store.InstanceKey(id))
			if err != nil {
				return nil, err
			}
			if HasSlot(in) {
				ids = append(ids, id)
			}
			if len(ids) == candidates {
				break
			}
		}
	}
	fullest, err := v.Instances(store.InstanceQuery{Placeable: true, Page: store.Page{Limit: candidates}})
	if err != nil {
		return nil, err
	}
	for _, in := range fullest {
		if HasSlot(in) && !slices.Contains(ids, in.ID) {
			ids = append(ids, in.ID)
		}
	}
	return ids, nil
}

package store

import (
	"context"
	"errors"
	"fmt"
)

// A Store keeps the records of one pool.
//
// Implementations: memstore (this process's memory), sqlitestore (a file), pgstore (PostgreSQL). The suite in storetest holds every one of
// them to what the comments in this file say. All methods are safe for concurrent use, by any number of processes where
// the implementation can be shared.
type Store interface {
	// View runs fn on one snapshot of the records, with every commit that was answered before View was called, and
	// none that is made meanwhile. No lock is held while fn runs: it may take its time, and call the store. Its
	// error is fn's own, as it is, or says that the store cannot be read.
	View(ctx context.Context, fn func(View) error) error

	// Update runs fn and commits what it has put and deleted, atomically, serializable and durable; an error of fn
	// is returned as it is, and undoes everything. fn does no I/O, does not call the store or keep its Tx, and may
	// run several times, on any goroutine: its last run counts. keys are a hint, the records that fn will get, put
	// or delete: an implementation may fetch and lock them in order, in one round trip. A key that fn uses beyond
	// the hint is added, and fn runs again: so it uses the same keys whenever it sees the same records, and makes no
	// random ID. Several Updates may share one commit.
	//
	// ErrUnknownOutcome says that the commit may or may not have happened: look, or repeat. After any other error
	// nothing was changed. A context that has ended starts nothing.
	Update(ctx context.Context, keys []Key, fn func(Tx) error) error

	// Notify returns a channel that gets a value after a commit, by any process, that touched the record of that
	// key. Values may be spurious, several commits may give one value, and a value may be lost when the connection
	// to a shared store is: look at the record first, and poll too. stop releases the channel; it is not closed.
	Notify(key Key) (wake <-chan struct{}, stop func())

	// Close releases the store. Every later View and Update returns ErrClosed; closing again does nothing.
	Close() error
}

// View reads one snapshot. The records that it returns are the caller's own. Queries return at most one page: see
// Page. A View is used by one goroutine, until the function that got it returns.
type View interface {
	Get(Key) (Record, error) // ErrNotFound
	// Instances, as Containers and Sessions do, returns one page of what the query selects. Nothing is no error.
	Instances(InstanceQuery) ([]*Instance, error)
	// Containers: as Instances.
	Containers(ContainerQuery) ([]*Container, error)
	// Sessions: as Instances.
	Sessions(SessionQuery) ([]*Session, error)
}

// Tx reads and writes by key. It sees its own writes. What Get returns is the caller's own, and is not written until
// it is Put; what was Put may be changed afterwards without effect. A Tx is used by one goroutine, until the function
// that got it returns.
type Tx interface {
	Get(Key) (Record, error) // ErrNotFound
	Put(Record) error        // in place of what has its key, if that is there
	Delete(Key) error        // absent is success
}

// Errors of a Store. All work with errors.Is.
var (
	ErrNotFound       = errors.New("store: no such record")
	ErrUnknownOutcome = errors.New("store: the commit may or may not have happened")
	ErrFenced         = errors.New("store: the lease has passed to somebody else")
	ErrClosed         = errors.New("store: closed")
)

// Kind is the kind of a record.
type Kind uint8

// The kinds of records. Their numbers are stored: they do not change.
const (
	KindPool      Kind = 1 // one record, with the ID ""
	KindInstance  Kind = 2 // by launch ID
	KindSharing   Kind = 3 // by container name, which stands for the sharing key
	KindContainer Kind = 4
	KindSession   Kind = 5
	KindTask      Kind = 6 // by TaskID: makes it unique
	KindLease     Kind = 7
	KindMirrors   Kind = 8 // by launch ID
	KindUser      Kind = 9 // by UserID
)

var kindNames = [...]string{"", "pool", "instance", "sharing", "container", "session", "task", "lease", "mirrors", "user"}

func (k Kind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Key names one record.
type Key struct {
	Kind Kind
	ID   string
}

func (k Key) String() string { return k.Kind.String() + "/" + k.ID }

// Compare orders keys: by kind, then by ID. Whoever locks several locks them in this order.
func (k Key) Compare(l Key) int {
	switch {
	case k.Kind != l.Kind:
		return int(k.Kind) - int(l.Kind)
	case k.ID < l.ID:
		return -1
	case k.ID > l.ID:
		return 1
	}
	return 0
}

// Record is one of *Pool, *Instance, *Sharing, *Container, *Session, *Task, *Lease, *Mirrors, *User.
type Record interface {
	Key() Key      // made of its own fields
	Clone() Record // shares nothing that can be changed
}

// Getter is what View and Tx have in common.
type Getter interface {
	Get(Key) (Record, error) // ErrNotFound
}

// Get returns the record of that key as its own type: Get[*Session](tx, store.SessionKey(id)).
func Get[R Record](g Getter, key Key) (R, error) {
	var zero R
	r, err := g.Get(key)
	if err != nil {
		return zero, err
	}
	typed, ok := r.(R)
	if !ok {
		return zero, fmt.Errorf("store: %s holds a %T, not a %T", key, r, zero)
	}
	return typed, nil
}

// Find is Get for a record that may be absent: it then returns nil and no error.
func Find[R Record](g Getter, key Key) (R, error) {
	r, err := Get[R](g, key)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return r, err
}

// CheckFence returns ErrFenced unless held is still the lease's holder. Whoever acts under a lease calls it in each
// Update, so that one that was paused longer than its lease cannot act on old knowledge.
func CheckFence(tx Tx, held Lease) error {
	now, err := Find[*Lease](tx, held.Key())
	if err != nil {
		return err
	}
	if now == nil || now.Fence != held.Fence || now.Holder != held.Holder {
		return fmt.Errorf("lease %s: %w", held.ID, ErrFenced)
	}
	return nil
}

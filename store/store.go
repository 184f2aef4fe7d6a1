package store

import (
	"context"
	"errors"
	"fmt"
)

// A Store keeps the records of one pool.
//
// The implementations are memstore (this process's memory), sqlitestore (a file) and pgstore (PostgreSQL). The suite in
// storetest checks each of them against the comments in this file. All methods are safe for concurrent use, by any number
// of processes if the implementation can be shared.
type Store interface {
	// View runs fn on one snapshot of the records. The snapshot has every commit that was answered before View was
	// called, and none that is made meanwhile. No lock is held while fn runs: fn may take long, and may call the store.
	// View returns fn's own error unchanged, or an error that says that the store cannot be read.
	View(ctx context.Context, fn func(View) error) error

	// Update runs fn and commits the records that it put and deleted. The commit is atomic, serializable and durable. An
	// error of fn is returned unchanged, and undoes everything. fn does no I/O, does not call the store and does not keep
	// its Tx. It may run several times, on any goroutine; its last run counts.
	//
	// keys are a hint: the records that fn will get, put or delete. An implementation may fetch and lock them in order, in
	// one round trip. If fn uses a key beyond the hint, the key is added and fn may run again. So fn must use the same keys
	// whenever it sees the same records, and must not make random IDs. Several Updates may share one commit.
	//
	// ErrUnknownOutcome says that the commit may or may not have happened: read the records, or repeat the Update. After
	// any other error nothing was changed. An Update whose context has ended does not start.
	Update(ctx context.Context, keys []Key, fn func(Tx) error) error

	// Notify returns a channel that gets a value after a commit, by any process, that touched the record of that key.
	// Values may be spurious, several commits may give one value, and a value may be lost together with the connection to
	// a shared store. So read the record after the call of Notify, and poll too. stop releases the channel; the channel is
	// not closed.
	Notify(key Key) (wake <-chan struct{}, stop func())

	// Close releases the store. Every later View and Update returns ErrClosed; closing again does nothing.
	Close() error
}

// View reads one snapshot. The records that it returns belong to the caller. Queries return at most one page: see Page. One
// goroutine uses a View, until the function that got it returns.
type View interface {
	Get(Key) (Record, error) // ErrNotFound
	// Instances returns one page of the instances that the query selects. An empty page is no error.
	Instances(InstanceQuery) ([]*Instance, error)
	// Containers is Instances for containers.
	Containers(ContainerQuery) ([]*Container, error)
	// Sessions is Instances for sessions.
	Sessions(SessionQuery) ([]*Session, error)
	// Usage is Instances for the rows of the bill. A UsageQuery selects hours.
	Usage(UsageQuery) ([]*Usage, error)
}

// Tx reads and writes by key. It sees its own writes. A record that Get returns belongs to the caller, and is not written
// until it is Put. A later change to a record that was Put has no effect. One goroutine uses a Tx, until the function that
// got it returns.
type Tx interface {
	Get(Key) (Record, error) // ErrNotFound
	Put(Record) error        // replaces the record of that key, if there is one
	Delete(Key) error        // an absent record is no error
}

// The errors of a Store. Match them with errors.Is.
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
	KindUsage     Kind = 10
	KindLedger    Kind = 11 // one record, with the ID ""
	KindWarmth    Kind = 12 // one record, with the ID ""
	KindDemand    Kind = 13 // one record, with the ID ""
)

var kindNames = [...]string{"", "pool", "instance", "sharing", "container", "session", "task", "lease", "mirrors", "user", "usage", "ledger", "warmth", "demand"}

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

// Compare orders keys by kind, then by ID. An implementation that locks several keys locks them in this order.
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

// Record is one of *Pool, *Instance, *Sharing, *Container, *Session, *Task, *Lease, *Mirrors, *User, *Usage,
// *Ledger, *Warmth, *Demand.
type Record interface {
	Key() Key      // made of the record's own fields
	Clone() Record // a copy that shares nothing that can change
}

// Getter is the common part of View and Tx.
type Getter interface {
	Get(Key) (Record, error) // ErrNotFound
}

// Get returns the record of that key with its own type:
//
//	s, err := store.Get[*store.Session](tx, store.SessionKey(id))
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

// Find is Get for a record that may be absent. It returns nil and no error for an absent record.
func Find[R Record](g Getter, key Key) (R, error) {
	r, err := Get[R](g, key)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return r, err
}

// Read returns the record of that key from a View of its own, or nil if there is none:
//
//	s, err := store.Read[*store.Session](ctx, st, store.SessionKey(id))
func Read[R Record](ctx context.Context, st Store, key Key) (r R, err error) {
	err = st.View(ctx, func(v View) error {
		r, err = Find[R](v, key)
		return err
	})
	return r, err
}

// FindContainer returns a container and the instance that it is on; nil for a record that is absent.
func FindContainer(g Getter, id string) (c *Container, in *Instance, err error) {
	if c, err = Find[*Container](g, ContainerKey(id)); err != nil || c == nil {
		return nil, nil, err
	}
	in, err = Find[*Instance](g, InstanceKey(c.Instance))
	return c, in, err
}

// ReadPool returns the pool's record from a View of its own. It returns ErrNotFound if the record was not made yet.
func ReadPool(ctx context.Context, st Store) (p *Pool, err error) {
	err = st.View(ctx, func(v View) error {
		p, err = Get[*Pool](v, PoolKey())
		return err
	})
	return p, err
}

// CheckFence returns ErrFenced unless the stored lease still has held's Holder and Fence. A process that acts under a lease
// calls CheckFence in each Update, so that it cannot act on old knowledge after a pause longer than its lease.
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

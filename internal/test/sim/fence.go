package sim

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/store"
)

// fences checks who writes a record. Only the holder of the planner's lease may change the state of an instance. Only the replica that has
// begun something may go on with it, unless that replica is dead.
type fences struct {
	mu   sync.Mutex           // protects the fields below
	ids  map[string]string    // the library's name of a replica, by our name
	beat map[string]time.Time // the last commit that wrote a replica's lease, by the library's name
	used map[string]time.Time // when a session was last used, according to the renewals of its lease
}

func newFences() *fences {
	return &fences{ids: make(map[string]string), beat: make(map[string]time.Time), used: make(map[string]time.Time)}
}

const replicaLease = "replica/"

var plannerLease = store.LeaseKey("planner")

// fencedTx looks at what a replica writes. A finding counts once the transaction was committed.
type fencedTx struct {
	store.Tx
	fences  *fences
	replica string
	planner bool                 // it is a step of the planner, which names the lease that it works under
	leases  []store.Lease        // that the replica takes or renews
	ahead   time.Duration        // by how much the replica's wall clock is ahead
	used    map[string]time.Time // when the sessions whose leases it renews were used
	faults  []string
}

func (tx *fencedTx) broken(format string, args ...any) {
	tx.faults = append(tx.faults, tx.replica+" "+fmt.Sprintf(format, args...))
}

// Put implements store.Tx.
func (tx *fencedTx) Put(r store.Record) error {
	if strings.Contains(fmt.Sprintf("%s", r), secret) { // %s prints bytes as text
		tx.broken("puts a secret into the record %s", r.Key())
	}
	if l, ok := r.(*store.Lease); ok && l.Holder != "" { // it takes or renews it
		tx.leases = append(tx.leases, *l)
	}
	if r.Key().Kind != store.KindLease && tx.planner {
		tx.plans(r.Key())
	}
	was, err := tx.Tx.Get(r.Key())
	if err == nil {
		tx.check(was, r)
		return tx.Tx.Put(r)
	}
	switch r := r.(type) {
	case *store.Instance:
		tx.plans(r.Key())
	case *store.Session:
		if r.Container != "" {
			tx.places(r)
		}
	}
	return tx.Tx.Put(r)
}

// Delete implements store.Tx.
func (tx *fencedTx) Delete(k store.Key) error {
	was, err := tx.Tx.Get(k)
	if err != nil {
		return tx.Tx.Delete(k)
	}
	switch was := was.(type) {
	case *store.Instance:
		tx.plans(k)
	case *store.Container:
		if was.Owner != tx.fences.id(tx.replica) {
			tx.broken("forgets container %s, which %s removes", was.Name, was.Owner)
		}
	}
	return tx.Tx.Delete(k)
}

func (tx *fencedTx) check(was, is store.Record) {
	me := tx.fences.id(tx.replica)
	switch is := is.(type) {
	case *store.Instance:
		a, b := *was.(*store.Instance), *is
		a.Sessions, a.UIDs, a.IdleSince = b.Sessions, b.UIDs, b.IdleSince // sessions change these, too
		a.Empties = b.Empties                                             // and this
		a.Wish, a.WishReason = b.Wish, b.WishReason                       // and operators these
		// and starts of containers these
		a.Isolation, a.IsolationReason, a.DiskQuota = b.Isolation, b.IsolationReason, b.DiskQuota
		a.SharedCheckouts, a.CheckoutReason = b.SharedCheckouts, b.CheckoutReason
		if !reflect.DeepEqual(a, b) {
			tx.plans(is.Key())
		}
	case *store.Session:
		was := was.(*store.Session)
		begun := was.State == store.SessionCreating || was.State == store.SessionTerminating
		if begun && is.Owner != was.Owner {
			tx.takesOver("session "+is.ID, was.Owner)
		}
		if is.Container != "" && is.Container != was.Container {
			tx.places(is)
		}
		if is.Beat != was.Beat {
			tx.used[is.ID] = is.LeaseUntil.Add(-is.IdleTimeout - is.IdleTimeout/10 - tx.ahead)
		}
		if was.State == store.SessionActive && is.State != was.State && is.End.Reason == store.EndExpired {
			tx.expires(is)
		}
		if c, err := store.Get[*store.Container](tx.Tx, store.ContainerKey(is.Container)); is.State == store.SessionActive && is.State != was.State &&
			(err != nil || c.State != store.ContainerReady) {
			tx.broken("makes session %s active in container %+v", is.ID, c)
		}
		if begun && is.State != was.State && is.State != store.SessionTerminating && is.Owner != me {
			tx.broken("makes session %s of %s %s", is.ID, is.Owner, is.State)
		}
	case *store.Container:
		was := was.(*store.Container)
		begun := was.State == store.ContainerStarting || was.State == store.ContainerStopping
		if begun && is.Owner != was.Owner {
			tx.takesOver("container "+is.ID, was.Owner)
		}
		if was.State == store.ContainerStarting && is.State == store.ContainerReady && is.Owner != me {
			tx.broken("makes container %s of %s ready", is.ID, is.Owner)
		}
	}
}

// places checks that a session gets its place on an instance and in a container that take sessions.
func (tx *fencedTx) places(s *store.Session) {
	in, err := store.Get[*store.Instance](tx.Tx, store.InstanceKey(s.Instance))
	if err != nil || in.State != store.InstanceReady || in.Drain || in.Wish != "" {
		tx.broken("places session %s on instance %+v", s.ID, in)
	}
	c, err := store.Get[*store.Container](tx.Tx, store.ContainerKey(s.Container))
	if err != nil || c.State != store.ContainerStarting && c.State != store.ContainerReady {
		tx.broken("places session %s in container %+v", s.ID, c)
	}
}

// plans checks a change that only the planner makes.
func (tx *fencedTx) plans(k store.Key) {
	held, err := store.Get[*store.Lease](tx.Tx, plannerLease)
	if err != nil || held.Holder != tx.fences.id(tx.replica) {
		tx.broken("changes %s, and the planner's lease is %+v", k, held)
	}
}

// expires checks that a session was unused for its whole IdleTimeout, by the true time.
func (tx *fencedTx) expires(s *store.Session) {
	tx.fences.mu.Lock()
	defer tx.fences.mu.Unlock()
	if idle := time.Since(tx.fences.used[s.ID]); idle < s.IdleTimeout {
		tx.broken("lets session %s expire %v after it was used", s.ID, idle)
	}
}

// takesOver checks that a replica that loses its work is dead.
func (tx *fencedTx) takesOver(what, from string) {
	lease, err := store.Get[*store.Lease](tx.Tx, store.LeaseKey(replicaLease+from))
	if err != nil || lease.Holder == "" {
		return // it has closed
	}
	tx.fences.mu.Lock()
	defer tx.fences.mu.Unlock()
	if silent := time.Since(tx.fences.beat[from]); silent < lease.Term {
		tx.broken("takes %s over from %s, which is silent for %v only", what, from, silent)
	}
}

// id returns the library's name of a replica, or "" before the replica has its lease.
func (f *fences) id(replica string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ids[replica]
}

// committed records the writes of a transaction, and returns its faults.
func (f *fences) committed(tx *fencedTx) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range tx.leases {
		f.ids[tx.replica] = l.Holder
		if l.ID == replicaLease+l.Holder {
			f.beat[l.Holder] = time.Now()
		}
	}
	for id, at := range tx.used {
		if at.After(f.used[id]) {
			f.used[id] = at
		}
	}
	return tx.faults
}

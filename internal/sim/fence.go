package sim

import (
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/berth-go/berth/store"
)

// fences checks that only who may write a record writes it: instances whoever holds the planner's lease, and what a
// replica has begun that replica, unless it is dead.
type fences struct {
	mu   sync.Mutex           // protects what follows
	ids  map[string]string    // what the library calls a replica, by our name
	beat map[string]time.Time // the last commit that wrote a replica's lease, by the library's name
}

func newFences() *fences {
	return &fences{ids: make(map[string]string), beat: make(map[string]time.Time)}
}

const replicaLease = "replica/"

var plannerLease = store.LeaseKey("planner")

// fencedTx looks at what a replica writes. What it finds counts once the transaction was committed.
type fencedTx struct {
	store.Tx
	fences  *fences
	replica string
	planner bool          // it is a step of the planner, who names the lease that it works under
	leases  []store.Lease // that it holds
	faults  []string
}

func (tx *fencedTx) broken(format string, args ...any) {
	tx.faults = append(tx.faults, tx.replica+" "+fmt.Sprintf(format, args...))
}

// Put implements store.Tx.
func (tx *fencedTx) Put(r store.Record) error {
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
		a.Sessions, a.UIDs, a.IdleSince = b.Sessions, b.UIDs, b.IdleSince // which sessions change, too
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
		if was.State == store.SessionActive && is.State != was.State && is.End.Reason == "expired" && was.LeaseUntil.After(time.Now()) {
			tx.broken("lets session %s expire before %v", is.ID, was.LeaseUntil)
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

// places checks that a session gets its place where sessions are taken.
func (tx *fencedTx) places(s *store.Session) {
	in, err := store.Get[*store.Instance](tx.Tx, store.InstanceKey(s.Instance))
	if err != nil || in.State != store.InstanceReady || in.Drain {
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

// takesOver checks that whoever loses what it has begun is dead.
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

// id is what the library calls a replica; "" before that has its lease.
func (f *fences) id(replica string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ids[replica]
}

// committed notes what a transaction wrote, and returns what it should not have.
func (f *fences) committed(tx *fencedTx) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range tx.leases {
		f.ids[tx.replica] = l.Holder
		if l.ID == replicaLease+l.Holder {
			f.beat[l.Holder] = time.Now()
		}
	}
	return tx.faults
}

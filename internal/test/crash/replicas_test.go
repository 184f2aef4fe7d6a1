package crash_test

import (
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/store/pgstore"
)

// pause is longer than the lease by which the others know that a replica lives.
const pause = 18 * time.Second

// TestReplicasOverPostgreSQL runs three processes on one pool, kills some, lets some stand still for longer than their
// leases, and cuts connections to the database.
func TestReplicasOverPostgreSQL(t *testing.T) {
	t.Parallel()
	length := 40 * time.Second
	if testenv.Soak() {
		length = 10 * time.Minute
	}
	server := pgtest.Start(t)
	database := server.Database(t)
	st, err := pgstore.Open(t.Context(), server.DSN(database), pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	o, b := newOrders(t), newBooks(t)
	o.Callers--
	r := &replicas{books: b, orders: o, database: database}
	for range 3 {
		r.all = append(r.all, &replica{proxy: server.StartProxy(t)})
	}
	for i := range r.all {
		r.start(i)
	}
	defer b.log()
	b.await(opCreated, 3)
	random := rand.New(rand.NewPCG(2, uint64(length)))
	harms := []func(i int){r.pause, r.kill, r.cut}
	least := int(length / (6 * time.Second))
	little := func() bool {
		return b.count(opCreated) < least || b.count(opUsed) < least/2 || b.count(opEnded) < least/2
	}
	begin := time.Now()
	for n := 0; (time.Since(begin) < length || little() && time.Since(begin) < length+patience) && !t.Failed(); n++ {
		time.Sleep(2*time.Second + time.Duration(random.IntN(3000))*time.Millisecond)
		harms[n%len(harms)](random.IntN(len(r.all)))
		time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
		r.hold()
		b.check(st, testenv.Docker(t), o.Pool)
		r.release()
	}
	for _, x := range r.all {
		time.Sleep(time.Until(x.until))
		x.signal(syscall.SIGCONT)
	}
	r.all[0].kill()
	r.all[1].close()
	r.all[2].close()
	if little() {
		t.Errorf("little was done: %v", b.counts)
	}
	b.check(st, testenv.Docker(t), o.Pool)
	o.Store = server.DSN(database)
	b.finish(o, st)
}

// oldVariable names the program of the first of the replicas: this package's test, as another version of berth has it, made
// by "go test -c". So one finds out whether that version and this one can share a pool while one replaces the other.
const oldVariable = "BERTH_OLD_WORKER"

// replicas are the workers on one database, each with a connection of its own to it.
type replicas struct {
	*books
	orders
	database string
	all      []*replica
	started  uint64
}

type replica struct {
	*process
	proxy *pgtest.Proxy
	until time.Time // when its pause is over
}

// start starts the worker of a replica.
func (r *replicas) start(i int) {
	r.started++
	o := r.orders
	o.Seed, o.Store = r.started, r.all[i].proxy.DSN(r.database)
	if i == 0 {
		o.program = os.Getenv(oldVariable)
	}
	r.all[i].process = r.books.start(o)
	r.all[i].await()
}

// pause lets a replica stand still for longer than its leases. The others go on meanwhile.
func (r *replicas) pause(i int) {
	r.all[i].signal(syscall.SIGSTOP)
	r.all[i].until = time.Now().Add(pause)
}

// kill ends a replica at once, and starts another in its place.
func (r *replicas) kill(i int) {
	r.all[i].process.kill()
	r.all[i].until = time.Time{}
	r.start(i)
}

// cut ends the connections of a replica to the database.
func (r *replicas) cut(i int) { r.all[i].proxy.Cut() }

// hold lets all stand still for the moment of a check, and waits until all that they said is in the books, and the engine
// has done what it was told.
func (r *replicas) hold() {
	for _, x := range r.all {
		x.signal(syscall.SIGSTOP)
	}
	time.Sleep(700 * time.Millisecond)
}

// release lets those go on that do not stand still for long.
func (r *replicas) release() {
	for _, x := range r.all {
		if time.Now().After(x.until) {
			x.signal(syscall.SIGCONT)
		}
	}
}

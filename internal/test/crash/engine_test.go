package crash_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// leftoverGrace is Config.LeftoverGrace of the pools whose processes are killed at a call to the engine. It is longer
// than a start needs its helper.
const leftoverGrace = 5 * time.Second

// atOnce is how many such pools there are at the same time: each has a network, and an engine has about 30 for all.
const atOnce = 10

// TestKilledAtAnyCallToTheEngine tells one story again and again: a session is created, used and terminated. Each time
// its process is killed at another of its calls to the engine: after every second one that changes something, and as a soak
// test after each, before it, and at those that only read. The next process of the pool finds all that was left, removes it after the grace
// time, and can destroy the pool.
func TestKilledAtAnyCallToTheEngine(t *testing.T) {
	t.Parallel()
	points := engineCalls(t)
	if len(points) < 9 {
		t.Fatalf("few calls: %v", points)
	}
	if !testenv.Soak() {
		n := 0
		points = slices.DeleteFunc(points, func(killPoint) bool { n++; return n%2 == 0 })
	}
	for batch := range slices.Chunk(points, atOnce) {
		var killed []*killed
		for _, at := range batch {
			killed = append(killed, killAt(t, at))
		}
		for _, k := range killed { // all of them wait for the dead planner's lease
			k.orders.Tale, k.orders.Raze = false, true
			k.process = k.books.start(k.orders)
			k.process.await() // a busy engine keeps ten that start at once waiting for too long
		}
		for _, k := range killed {
			k.settle()
		}
		for _, k := range killed {
			k.process.close()
			if held := k.list(); len(held.Containers)+len(held.Mirrors)+len(held.Resources) > 0 {
				t.Errorf("killed at %+v: after Destroy the engine has %+v", k.at, held)
			}
		}
	}
}

// killed is a pool whose process was killed.
type killed struct {
	t       *testing.T
	at      killPoint
	orders  orders
	books   *books
	process *process
}

// killAt lets a process tell the story until it is killed.
func killAt(t *testing.T, at killPoint) *killed {
	t.Helper()
	k := &killed{t: t, at: at, orders: newOrders(t), books: newBooks(t)}
	g := newGate(t, testenv.Docker(t).DaemonHost(), at)
	k.orders.Store, k.orders.docker = filepath.Join(t.TempDir(), "berth.db"), g.address
	k.orders.Callers, k.orders.Tale, k.orders.Grace = 0, true, leftoverGrace
	g.mu.Lock() // it makes no call before it is known
	k.process = k.books.start(k.orders)
	g.victim = k.process
	g.mu.Unlock()
	select {
	case <-k.process.done:
	case <-time.After(patience):
		t.Fatalf("no call %+v was made", at)
	}
	return k
}

// engineCalls returns where the process of the story is to be killed.
func engineCalls(t *testing.T) (points []killPoint) {
	t.Helper()
	o := newOrders(t)
	g := newGate(t, testenv.Docker(t).DaemonHost(), killPoint{})
	o.Store, o.docker, o.Callers, o.Tale, o.Raze = filepath.Join(t.TempDir(), "berth.db"), g.address, 0, true, true
	b := newBooks(t)
	p := b.start(o)
	b.await(opEnded, 1)
	g.mu.Lock()
	calls := slices.Clone(g.calls) // without those of Destroy
	g.mu.Unlock()
	p.close()
	for _, call := range calls {
		reads := strings.HasPrefix(call.sort, "GET") || strings.HasPrefix(call.sort, "HEAD")
		if testenv.Soak() && (!reads || call.n == 1) { // how often it looks depends on the moment
			points = append(points, call)
		}
		if call.after = true; !reads {
			points = append(points, call)
		}
	}
	t.Logf("points: %+v", points)
	return points
}

// list returns what the engine holds of the pool.
func (k *killed) list() orchestrator.Inventory {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	at := orchestrator.Endpoint{Pool: k.orders.Pool, Launch: "any", Address: testenv.Docker(k.t).DaemonHost()}
	h, err := dockerengine.New(dockerengine.Options{}).Connect(ctx, at)
	if err != nil {
		k.t.Fatal(err)
	}
	defer h.Close()
	held, err := h.List(ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	return held
}

// settle waits until the engine holds nothing of the pool that has no owner.
func (k *killed) settle() {
	k.t.Helper()
	orphans := func() (left []string) {
		held := k.list()
		for _, r := range held.Resources {
			if !r.InUse {
				left = append(left, fmt.Sprintf("%s %s", r.Kind, r.ID))
			}
		}
		for _, c := range held.Containers {
			if !c.Running {
				left = append(left, "container "+c.Name)
			}
		}
		return left
	}
	var left []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if left = orphans(); len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	k.t.Errorf("killed at %+v: after %v the engine still has %v", k.at, patience, left)
}

package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// drain makes the pool retire its instances, as Destroy does.
func (r *rig) drain() {
	r.update(func(tx store.Tx) error {
		p, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		p.Closed, p.Draining = true, true
		return tx.Put(p)
	})
}

// plant starts a machine that carries the pool's name and that its store does not know.
func (r *rig) plant(launch, uid string) {
	r.t.Helper()
	f, err := r.cloud.Prepare(r.t.Context(), pool.Spec{Pool: "p", PoolUID: uid, LaunchID: launch, Type: "t"})
	if err == nil {
		_, err = r.cloud.Launch(r.t.Context(), launch, f)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestFault16SessionArrivesWhileAnInstanceIsChosenForRemoval(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, nil, func(t *testing.T, r *rig) {
		r.wait(1)
		r.start()
		r.withinStates(time.Minute, "ready")
		r.wait(0)
		time.Sleep(9 * time.Minute)
		id, uid := r.placeOne()
		r.release(id, uid)
		// The next write is the cordon. The session comes between the plan and that write.
		late := 0
		r.store.set(func(s *lossyStore) {
			s.before = func([]store.Key) {
				if late++; late == 1 {
					id, uid = r.placeOne()
				}
			}
		})
		time.Sleep(11 * time.Minute)
		r.want("ready")
		if late == 0 || id == "" {
			t.Fatalf("nothing was cordoned, or no session came: %d, %q", late, id)
		}
		time.Sleep(time.Hour)
		r.want("ready")
		r.release(id, uid)
		r.within(12*time.Minute, "it is gone", func() bool { return r.states() == "" && r.cloud.Alive() == 0 })
	})
}

func TestCordonedInstanceIsTakenBackWhenItIsWanted(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, nil, func(t *testing.T, r *rig) {
		r.wait(1)
		m := r.start()
		r.withinStates(time.Minute, "ready")
		r.wait(0)
		m.Wake()
		r.store.set(func(s *lossyStore) { // the step after the cordon fails for a while
			s.before = func([]store.Key) {
				if r.states() == "cordoned" {
					r.wait(1)
				}
			}
			s.failIf = func([]store.Key) bool { return r.states() == "cordoned" && r.demand() == 0 }
		})
		r.withinStates(11*time.Minute, "cordoned")
		if id, _ := r.placeOne(); id != "" {
			t.Error("a cordoned instance took a session")
		}
		r.withinStates(time.Minute, "ready")
		if r.cloud.Launches() != 1 {
			t.Errorf("%d machines were started", r.cloud.Launches())
		}
	})
}

func TestFault17TheLedgerSaysWhatIsBusy(t *testing.T) {
	// An instance is busy as long as a session holds a slot, whatever its machine does.
	inBubble(t, fake.CloudOptions{}, nil, func(t *testing.T, r *rig) {
		r.wait(1)
		r.start()
		r.withinStates(time.Minute, "ready")
		id, uid := r.placeOne()
		r.wait(0)
		time.Sleep(24 * time.Hour)
		r.want("ready")
		r.drain()
		time.Sleep(time.Hour)
		r.want("ready")
		r.release(id, uid)
		r.within(time.Minute, "it is gone", func() bool { return r.states() == "" })
	})
}

func TestFault18TerminationIsRefused(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances = 2 }, func(t *testing.T, r *rig) {
		r.wait(1)
		m := r.start()
		r.withinStates(time.Minute, "ready")
		id := r.one().ID
		r.cloud.FailTerminate(id, errors.New("termination protection is on"))
		r.wait(0)
		r.withinStates(11*time.Minute, "terminating")
		before := r.cloud.Calls(fake.Terminate)
		time.Sleep(time.Hour)
		// The record stays and counts. The termination is repeated ever more slowly, and logged.
		r.want("terminating")
		if n := r.cloud.Calls(fake.Terminate) - before; n < 50 || n > 70 {
			t.Errorf("in an hour it was asked for %d times", n)
		}
		if m.Stats().Errors < 50 {
			t.Errorf("%+v", m.Stats())
		}
		if got, _ := r.placeOne(); got != "" {
			t.Error("a session was placed on it")
		}
		r.wait(100) // one more may be launched beside it, and not two
		r.withinStates(time.Minute, "ready terminating")
		time.Sleep(time.Minute)
		r.want("ready terminating")
		r.cloud.FailTerminate(id, nil)
		r.withinStates(3*time.Minute, "ready ready")
	})
}

func TestRefusedTerminationDoesNotKeepTheOthers(t *testing.T) {
	for name, batch := range map[string]bool{"the cloud names the one": false, "the cloud fails all for one": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances, c.MinInstances = 5, 5 }, func(t *testing.T, r *rig) {
				if batch {
					r.cfg.Cloud = batchCloud{r.cloud}
				}
				r.start()
				r.withinStates(time.Minute, "ready ready ready ready ready")
				r.cloud.FailTerminate(r.instances()[2].ID, errors.New("termination protection is on"))
				r.drain()
				r.withinStates(time.Minute, "terminating")
				if n := r.cloud.Calls(fake.Terminate); n > 16 {
					t.Errorf("the cloud was called %d times", n)
				}
			})
		})
	}
}

// batchCloud ends all machines of a call or none.
type batchCloud struct{ *fake.Cloud }

func (c batchCloud) Terminate(ctx context.Context, ids ...string) (map[string]error, error) {
	if len(ids) > 1 {
		return nil, errors.New("one of them is protected")
	}
	return c.Cloud.Terminate(ctx, ids...)
}

// TestEndedInstanceIsForgottenSoon retires an instance. It does not count any more as soon as the cloud shows that it ended.
func TestEndedInstanceIsForgottenSoon(t *testing.T) {
	inBubble(t, fake.CloudOptions{Ending: 3 * time.Second}, minOne, func(t *testing.T, r *rig) {
		m := r.start()
		r.withinStates(time.Minute, "ready")
		r.drain()
		m.Wake()
		if took := r.withinStates(time.Minute, ""); took > 8*time.Second { // the end, the list's lag and two looks
			t.Errorf("it took %v", took)
		}
		if n := r.cloud.Calls(fake.Terminate); n != 1 {
			t.Errorf("its end was asked for %d times", n)
		}
	})
}

// TestSessionsThatComeAndGo places and releases at random while the pool grows and shrinks: no session may lose its
// instance.
func TestSessionsThatComeAndGo(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances, c.IdleTimeout = 4, 20*time.Second }, func(t *testing.T, r *rig) {
		random := rand.New(rand.NewPCG(1, 2))
		m := r.start()
		type place struct {
			id  string
			uid int
		}
		var held []place
		for range 1500 {
			r.wait(random.IntN(3) * random.IntN(8))
			m.Wake()
			if random.IntN(5) == 0 {
				time.Sleep(time.Duration(random.IntN(60)) * time.Second)
			}
			if id, uid := r.placeOne(); id != "" {
				held = append(held, place{id, uid})
			}
			for len(held) > 0 && random.IntN(9) < 4 {
				i := random.IntN(len(held))
				r.release(held[i].id, held[i].uid)
				held = append(held[:i], held[i+1:]...)
			}
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			for _, h := range held {
				if s := r.machine(h.id).State; s != pool.MachineRunning {
					t.Fatalf("after %v a session is on %s, which is %s", r.passed(), h.id, s)
				}
			}
		}
		r.wait(0)
		for _, h := range held {
			r.release(h.id, h.uid)
		}
		if r.cloud.Launches() < 10 {
			t.Errorf("only %d machines were started", r.cloud.Launches())
		}
		r.within(2*time.Minute, "nothing is left", func() bool { return r.states() == "" && r.cloud.Alive() == 0 })
	})
}

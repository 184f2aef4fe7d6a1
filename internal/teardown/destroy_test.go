package teardown_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

func TestDestroyingTwiceSucceeds(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Create("t", "https://git.example/org/repo")
		for range 2 {
			if err := w.Destroy(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestDestroyThatWasCutOffCanBeFinished(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", "https://git.example/org/repo")
		w.Cloud.IgnoreTerminate(s.Info().Instance.ID, 2)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := w.Destroy(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the end of its context", err)
		}
		_, err := w.CreateSession(t.Context(), world.Request("u", "https://git.example/org/repo"))
		if !errors.Is(err, berth.ErrDestroying) || !strings.Contains(err.Error(), "destroyed") {
			t.Errorf("a session on a pool that is being destroyed: %v", err)
		}
		if err := w.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestDestroyOfAProcessThatDiesIsUndone: without that, the next process would get ErrDestroying until another Destroy.
func TestDestroyOfAProcessThatDiesIsUndone(t *testing.T) {
	for _, draining := range []bool{false, true} {
		t.Run(fmt.Sprintf("draining=%t", draining), func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				dies, reach := w.NewCutProvider()
				s := world.Create(t, dies, world.Request("t", world.RepoA))
				if draining { // it waits for an instance that does not end
					w.Cloud.IgnoreTerminate(s.Info().Instance.ID, 100)
				} else {
					w.Engine.Hang(fake.CloseSession)
				}
				var all sync.WaitGroup
				defer all.Wait()
				ctx, giveUp := context.WithCancel(t.Context())
				defer giveUp()
				all.Go(func() { dies.Destroy(ctx) })
				world.After(20 * time.Second)
				reach.Cut.Store(true)
				world.After(time.Second)
				w.Engine.Heal()
				w.Provider.Close()
				next := w.NewProvider()
				if _, err := next.CreateSession(t.Context(), world.Request("early", world.RepoB)); !errors.Is(err, berth.ErrDestroying) {
					t.Errorf("a session before the dead process is noticed: %v", err)
				}
				world.After(40 * time.Second)
				if _, err := next.CreateSession(t.Context(), world.Request("u", world.RepoB)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestDestroyByTwoOfWhomOneDies: the pool stays closed while one of them runs. When Destroy is done, the next New opens
// the pool again, even if the one that died began last.
func TestDestroyByTwoOfWhomOneDies(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		dies, reach := w.NewCutProvider()
		s := w.Create("t", world.RepoA)
		w.Cloud.IgnoreTerminate(s.Info().Instance.ID, 3)
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		var all sync.WaitGroup
		defer all.Wait()
		lives := make(chan error, 1)
		all.Go(func() { lives <- w.Destroy(t.Context()) })
		time.Sleep(time.Second)
		all.Go(func() { dies.Destroy(ctx) }) // the later one
		time.Sleep(time.Second)
		reach.Cut.Store(true)
		if err := <-lives; err != nil {
			t.Errorf("Destroy of the living process: %v", err)
		}
		giveUp()
		w.NewProvider()
		w.Provider = w.NewProvider()
		w.Create("t", world.RepoA)
	})
}

// plant launches a machine of the pool that has no record, as if the store had been restored from a backup. uid is the
// pool's identity; "" means that of the store.
func plant(w *world.World, launch, uid string) (cloudID string) {
	w.T.Helper()
	if uid == "" {
		err := w.Store.View(w.T.Context(), func(v store.View) error {
			record, err := store.Get[*store.Pool](v, store.PoolKey())
			if err == nil {
				uid = record.UID
			}
			return err
		})
		if err != nil {
			w.T.Fatal(err)
		}
	}
	f, err := w.Cloud.Prepare(w.T.Context(), pool.Spec{PoolUID: uid, LaunchID: launch, Type: "t3.large"})
	if err != nil {
		w.T.Fatal(err)
	}
	m, err := w.Cloud.Launch(w.T.Context(), launch, f)
	if err != nil {
		w.T.Fatal(err)
	}
	return m.CloudID
}

// costing returns the launch IDs of the machines that cost money.
func costing(w *world.World) (all []string) {
	for _, m := range w.Cloud.Machines() {
		if m.State != pool.MachineEnded && m.State != pool.MachineEnding {
			all = append(all, m.LaunchID)
		}
	}
	return all
}

// TestDestroyEndsMachinesWithoutARecord: the machines carry the store's identity, and nothing else would end them. A
// machine of another store with the same pool name is left alone.
func TestDestroyEndsMachinesWithoutARecord(t *testing.T) {
	for name, through := range map[string]func(w *world.World) *berth.Provider{
		"by the planner":  func(w *world.World) *berth.Provider { return w.Provider },
		"by another one":  (*world.World).NewProvider,
		"by the next one": func(w *world.World) *berth.Provider { w.Close(); return w.NewProvider() },
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				p := through(w)
				plant(w, "restored", "")
				plant(w, "other", "the-identity-of-another-store")
				time.Sleep(time.Minute) // the list shows them
				begin := time.Now()
				if err := p.Destroy(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				if left := costing(w); len(left) != 1 || left[0] != "other" {
					t.Errorf("%v are left, want the machine of the other store", left)
				}
			})
		})
	}
}

// TestDestroyWaitsForARefusedLaunch: the cloud refuses a launch, and starts a machine all the same. Its list shows the
// machine later.
func TestDestroyWaitsForARefusedLaunch(t *testing.T) {
	for name, refusal := range map[string]error{
		"capacity": pool.ErrCapacity, "quota": pool.ErrQuota, "rights": pool.ErrAuth, "request": pool.ErrPermanent, "over": pool.ErrLaunchOver,
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{Cloud: fake.CloudOptions{ListLag: 20 * time.Second}}, func(t *testing.T, w *world.World) {
				w.Cloud.Next(fake.Launch, 1, fake.Fault{After: refusal})
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				if _, err := w.CreateSession(ctx, world.Request("t", world.RepoA)); err == nil {
					t.Fatal("CreateSession succeeded; want the refusal of its launch")
				}
				if n := len(costing(w)); n != 1 {
					t.Fatalf("%d machines are alive; want the one of the refused launch", n)
				}
				begin := time.Now()
				if err := w.Destroy(t.Context()); err != nil {
					t.Fatal(err)
				}
				if left := costing(w); len(left) > 0 {
					t.Errorf("%v are left", left)
				}
				if took := time.Since(begin); took > 90*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestDestroyLearnsWhatBecameOfALaunch: the outcome of a launch is unknown. Destroy repeats the launch, which returns
// the machine; waiting for the list would take five minutes.
func TestDestroyLearnsWhatBecameOfALaunch(t *testing.T) {
	for name, fault := range map[string]fake.Fault{
		"nothing was launched":    {Before: errors.New("connection reset")},
		"a machine was launched":  {After: errors.New("connection reset")},
		"it hangs with an effect": {HangAfter: true},
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{Cloud: fake.CloudOptions{ListLag: 20 * time.Second}}, func(t *testing.T, w *world.World) {
				w.Cloud.Next(fake.Launch, 3, fault)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				if _, err := w.CreateSession(ctx, world.Request("t", world.RepoA)); err == nil {
					t.Fatal("CreateSession succeeded; want an error of its launch")
				}
				begin := time.Now()
				if err := w.Destroy(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took > 4*time.Minute {
					t.Errorf("it took %v", took)
				}
				if left := costing(w); len(left) > 0 || w.Cloud.MaxAlive() > 1 || w.Cloud.Launches() > 1 {
					t.Errorf("%v are left; %d machines were started, %d alive at once", left, w.Cloud.Launches(), w.Cloud.MaxAlive())
				}
			})
		})
	}
}

// TestDestroySaysWhatIsLeft ends the context of Destroy. The error names the machines that may be left.
func TestDestroySaysWhatIsLeft(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		id := plant(w, "restored", "")
		time.Sleep(time.Minute) // the list shows it
		w.Cloud.FailTerminate("restored", errors.New("it is protected"))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := w.Destroy(ctx); err == nil || !strings.Contains(err.Error(), id) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a machine that cannot be ended: %v, want its name %s", err, id)
		}
		w.Cloud.FailTerminate("restored", nil)
		w.Cloud.Refuse(errors.New("the cloud is down"))
		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := w.Destroy(ctx); err == nil || !strings.Contains(err.Error(), "the cloud is down") {
			t.Errorf("with a cloud that lists nothing: %v", err)
		}
		w.Cloud.Refuse(nil)
		if err := w.Destroy(t.Context()); err != nil || len(costing(w)) > 0 {
			t.Errorf("in the end: %v, %v are left", err, costing(w))
		}
	})
}

// TestDestroyNamesALaunchWithoutAnOutcome: the cloud answers neither the launch nor the repetition.
func TestDestroyNamesALaunchWithoutAnOutcome(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
		w.Cloud.Next(fake.Launch, 1000, fake.Fault{Before: errors.New("connection reset")})
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Destroy(ctx); err == nil || !strings.Contains(err.Error(), "launch berth-") {
			t.Errorf("cut off: %v, want the ID of the launch", err)
		}
		begin := time.Now()
		if err := w.Destroy(t.Context()); err != nil || time.Since(begin) > 7*time.Minute {
			t.Errorf("in the end, after %v: %v", time.Since(begin), err)
		}
	})
}

func TestDestroyRemovesEverything(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 2, MaxInstances: 3}}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		s := w.Create("t1", world.RepoA)
		world.Create(t, other, world.Request("t2", world.RepoB))
		w.Engine.Hang(fake.Ensure)
		c := world.Creating(t.Context(), other, world.Request("t3", "https://github.com/acme/anvil"))
		time.Sleep(time.Minute)
		if err := w.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := <-c; r.Err == nil {
			t.Error("a session was created on a pool that is being destroyed")
		}
		<-s.Done()
		if n := w.Cloud.Alive(); n != 0 {
			t.Errorf("%d machines are left", n)
		}
		world.After(time.Hour) // MinInstances is not launched again, neither here nor by the other replica
		w.Empty()
		if n := w.Cloud.Alive(); n != 0 {
			t.Errorf("%d machines came back", n)
		}
		if _, err := other.CreateSession(t.Context(), world.Request("t4", world.RepoA)); !errors.Is(err, berth.ErrDestroying) {
			t.Error(err)
		}
		other.Close()
		w.Engine.Heal()
		w.Provider = w.NewProvider() // opens the pool again
		w.Create("t1", world.RepoA)
	})
}

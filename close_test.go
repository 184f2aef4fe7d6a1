package berth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

func TestCloseEndsADestroyUnderWay(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", "https://git.example/org/repo")
		w.Cloud.IgnoreTerminate(s.Info().Instance.ID, 1000) // so that Destroy does not end by itself
		done := make(chan error)
		go func() { done <- w.Destroy(context.Background()) }()
		time.Sleep(time.Minute)
		begin := time.Now()
		w.Close()
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("Close took %v", took)
		}
		if err := <-done; !errors.Is(err, berth.ErrClosed) {
			t.Errorf("Destroy ended with %v, want ErrClosed", err)
		}
	})
}

func TestProviderMayBeClosedWhileItIsListed(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Create("t", "https://git.example/org/repo")
		for _, err := range w.ListSessions(t.Context(), berth.SessionFilter{}) {
			if err != nil && !errors.Is(err, berth.ErrClosed) {
				t.Error(err)
			}
			w.Close()
		}
		for _, err := range w.Repositories(t.Context()) {
			if !errors.Is(err, berth.ErrClosed) {
				t.Errorf("got %v, want ErrClosed", err)
			}
		}
	})
}

// TestCloseDoesNotWaitForEverForTheHost: the host's OnEvent must not block. If it does, Close returns all the same.
func TestCloseDoesNotWaitForEverForTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		p, err := fake.NewProvider(fake.Options{Config: berth.Config{OnEvent: func(berth.Event) { <-stuck }}})
		if err != nil {
			t.Fatal(err)
		}
		world.Create(t, p, world.Request("t", world.RepoA))
		if n := p.Stats().Events; n < 3 { // of the instance, of the container, of the session
			t.Errorf("Stats counts %d waiting events", n)
		}
		p.Close()
	})
}

func TestCreateAfterCloseIsErrClosed(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Cloud.SetCapacity(0)
		c := world.Creating(t.Context(), w.Provider, world.Request("t", world.RepoA))
		same := world.Creating(t.Context(), w.Provider, world.Request("t", world.RepoA))
		time.Sleep(time.Minute)
		synctest.Wait()
		begun := time.Now()
		w.Close()
		for _, c := range []<-chan world.Result{c, same} {
			if r := <-c; !errors.Is(r.Err, berth.ErrClosed) {
				t.Error(r.Err)
			}
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("Close took %v", took)
		}
		if _, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA)); !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
		w.Empty()
	})
}

func TestCloseLeavesEverythingRunning(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		w.Close()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if n := len(w.Engine.Containers()); n != 1 || w.Cloud.Alive() != 1 {
			t.Errorf("%d containers, %d machines", n, w.Cloud.Alive())
		}
		p := w.NewProvider()
		again, err := p.GetSession(t.Context(), s.ID())
		if err != nil || again.Info().State != berth.SessionActive {
			t.Fatalf("%v, %v", again, err)
		}
		if err := again.Command(t.Context(), "true").Run(); err != nil {
			t.Error(err)
		}
		same, err := p.CreateSession(t.Context(), world.Request("t", world.RepoA))
		if err != nil || same.ID() != s.ID() {
			t.Errorf("%v, %v", same, err)
		}
		if err := p.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Error(err)
		}
		world.After(time.Second)
		w.Empty()
		if _, err := w.GetSession(t.Context(), s.ID()); !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
	})
}

// unhealthy are the errors that Health may match.
var unhealthy = map[string]error{
	"the store": berth.ErrUnavailable, "the lease": berth.ErrSuspended, "the planner": berth.ErrNoPlanner, "the credentials": pool.ErrAuth,
	"the instances": orchestrator.ErrUnreachable, "destroying": berth.ErrDestroying, "closed": berth.ErrClosed,
}

// wantHealth checks that Health names some faults, in one line, and no other.
func wantHealth(t *testing.T, p *berth.Provider, when string, faults ...string) {
	t.Helper()
	err := p.Health(t.Context())
	for name, sentinel := range unhealthy {
		if want := slices.Contains(faults, name); errors.Is(err, sentinel) != want {
			t.Errorf("%s: Health says %v; of %s: %t", when, err, name, want)
		}
	}
	if (err == nil) != (len(faults) == 0) || err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: Health says %v", when, err)
	}
}

func TestHealthOfAStoreThatFails(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		cut, reach := w.NewCutProvider()
		world.After(time.Second)
		wantHealth(t, w.Provider, "at first")
		wantHealth(t, cut, "at first, another")
		reach.Cut.Store(true)
		wantHealth(t, cut, "the store has just failed", "the store")
		if err := cut.Health(t.Context()); !errors.Is(err, world.ErrCut) {
			t.Errorf("the store's own words are missing in %v", err)
		}
		world.After(20 * time.Second)
		wantHealth(t, cut, "the store has failed for 20 s", "the store", "the lease", "the planner")
		wantHealth(t, w.Provider, "another one's store has failed")
		reach.Cut.Store(false)
		world.After(20 * time.Second)
		wantHealth(t, cut, "the store answers again")
		w.Close()
		wantHealth(t, w.Provider, "after Close", "closed")
		world.After(5 * time.Second)
		wantHealth(t, cut, "the next one plans")
	})
}

// silentStore is a store that does not answer while it is silent.
type silentStore struct {
	store.Store
	silent atomic.Bool
}

func (s *silentStore) View(ctx context.Context, fn func(store.View) error) error {
	if s.silent.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Store.View(ctx, fn)
}

func TestHealthDoesNotWaitForAStoreThatDoesNotAnswer(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		st := &silentStore{Store: w.Store}
		p := w.NewProviderOn(st)
		world.After(time.Second)
		st.silent.Store(true)
		begun := time.Now()
		wantHealth(t, p, "the store does not answer", "the store")
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("Health took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Health(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, berth.ErrUnavailable) {
			t.Errorf("the caller's context has ended: %v", err)
		}
		st.silent.Store(false)
	})
}

// TestHealthOfAPlannerThatDies: the other process notices it, and plans.
func TestHealthOfAPlannerThatDies(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Close()
		first, reach := w.NewCutProvider()
		world.After(time.Second)
		next := w.NewProvider()
		world.After(time.Second)
		wantHealth(t, next, "there is a planner")
		reach.Cut.Store(true)
		world.After(14 * time.Second)
		wantHealth(t, next, "it is not known to be dead")
		wantHealth(t, first, "the dead one", "the store", "the lease", "the planner")
		world.After(20 * time.Second)
		wantHealth(t, next, "it is dead, and this one plans")
	})
}

func TestHealthOfThePool(t *testing.T) {
	cfg := berth.Config{MinInstances: 3, MaxInstances: 4, MaxTasksPerInstance: 1}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		world.After(time.Minute) // this process plans
		other := w.NewProvider()
		world.After(time.Minute)
		wantHealth(t, w.Provider, "at first")

		for _, in := range w.InstanceRecords() {
			w.Engine.Unreachable(in.ID)
		}
		world.After(time.Minute)
		wantHealth(t, w.Provider, "no instance answers", "the instances")
		w.Engine.Heal()
		world.After(time.Minute)
		wantHealth(t, w.Provider, "all instances answer")

		w.Cloud.Refuse(fmt.Errorf("%w: the token\nhas expired", pool.ErrAuth))
		world.After(time.Minute)
		wantHealth(t, w.Provider, "the cloud refuses", "the credentials")
		if err := w.Health(t.Context()); !strings.Contains(err.Error(), "has expired") {
			t.Errorf("the cloud's own words are missing in %v", err)
		}
		wantHealth(t, other, "nobody waits")
		ctx, cancel := context.WithCancel(t.Context())
		var waiting []<-chan world.Result
		for _, task := range []string{"a", "b", "c", "d"} {
			waiting = append(waiting, world.Creating(ctx, other, world.Request(task, "https://git.example/org/"+task)))
		}
		world.After(time.Minute)
		wantHealth(t, other, "a session waits", "the credentials")
		w.Cloud.Refuse(nil)
		world.After(2 * time.Minute)
		for _, p := range []*berth.Provider{w.Provider, other} {
			wantHealth(t, p, "the cloud accepts")
		}
		cancel()
		for _, c := range waiting {
			<-c
		}
		w.Cloud.Refuse(errors.New("the cloud is down"))
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Destroy(ctx); err == nil {
			t.Error("a pool is destroyed whose cloud does not answer")
		}
		wantHealth(t, other, "while the pool is being destroyed", "destroying")
		w.Cloud.Refuse(nil)
	})
}

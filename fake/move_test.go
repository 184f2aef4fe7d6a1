package fake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/orchestrator"
)

func TestMovedMachineIsReachedAtItsNewAddressAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const next = "tcp://10.0.9.9:2376"
		c := fake.NewCloud(fake.CloudOptions{ListLag: 3 * time.Second, Latency: -1})
		e := fake.NewEngine(fake.EngineOptions{Cloud: c})
		mustLaunch(t, c, "a")
		time.Sleep(10 * time.Second)
		before, err := connect(t, e, "a", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := before.Ensure(t.Context(), spec(), nil); err != nil {
			t.Fatal(err)
		}
		in, err := before.Attach(t.Context(), spec().Name)
		if err != nil {
			t.Fatal(err)
		}

		c.Move("a", next)
		for _, want := range []string{address, next} {
			all, err := c.List(t.Context())
			if err != nil || len(all) != 1 || all[0].Address != want {
				t.Errorf("List shows %+v, %v; want %s", all, err, want)
			}
			time.Sleep(3 * time.Second)
		}
		if err := before.Probe(t.Context()); err == nil || errors.Is(err, orchestrator.ErrWrongHost) {
			t.Errorf("at the old address Probe = %v", err)
		}
		if _, err := in.Sessions(within(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at the old address Sessions = %v, want that it waits", err)
		}
		if mustLaunch(t, c, "b"); machine(t, c, "b").Address != "" {
			t.Fatal("b has an address before it runs")
		}
		time.Sleep(5 * time.Second)
		if got := machine(t, c, "b").Address; got != address {
			t.Errorf("the next machine is at %s, want %s, which is free", got, address)
		}
		if err := before.Probe(t.Context()); !errors.Is(err, orchestrator.ErrWrongHost) {
			t.Errorf("where another machine is now, Probe = %v", err)
		}

		e.KillContainer(spec().Name)
		synctest.Wait()
		if err := in.Err(); err != nil {
			t.Errorf("it learns over the old address: %v", err)
		}
		after, err := connect(t, e, "a", next)
		if err != nil {
			t.Fatal(err)
		}
		if held, err := after.List(t.Context()); err != nil || len(held.Containers) != 1 || held.Containers[0].Running {
			t.Errorf("at the new address List = %+v, %v", held, err)
		}
		before.Close()
		if err := in.Err(); !errors.Is(err, agent.ErrClosed) {
			t.Errorf("after Close Err = %v", err)
		}
	})
}

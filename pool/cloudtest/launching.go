package cloudtest

import (
	"bytes"
	"errors"
	"sync"

	"github.com/berth-go/berth/pool"
)

var launching = []rule{
	{"preparing starts nothing and can be repeated", func(t *test) {
		first := t.prepare("launch-1")
		t.prepare("launch-1")
		m, err := t.Launch(t.ctx, "launch-1", first)
		if err != nil {
			t.Fatalf("Launch with a request that was prepared before another one: %v", err)
		}
		t.runs(m.CloudID)
		if shown := t.listed(); len(shown) != 1 {
			t.Errorf("after one launch List shows %+v", shown)
		}
	}},
	{"a launch gives a machine with its ID", func(t *test) {
		m := t.launch("launch-1")
		if m.LaunchID != "launch-1" || m.CloudID == "" {
			t.Errorf("Launch = %+v", m)
		}
		if m.State != pool.MachinePending && m.State != pool.MachineRunning {
			t.Errorf("a machine that was just launched is %s", m.State)
		}
		if m.Launched.IsZero() {
			t.Error("the machine does not say when it was launched")
		}
	}},
	{"a machine that runs has an address", func(t *test) {
		if m := t.runs(t.launch("launch-1").CloudID); m.Address == "" {
			t.Errorf("%+v has no address", m)
		}
	}},
	{"launching twice with one ID gives one machine", func(t *test) {
		f := t.prepare("launch-1")
		before := bytes.Clone(f)
		first, err := t.Launch(t.ctx, "launch-1", f)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f, before) {
			t.Error("Launch changed the request that it was given")
		}
		clear(f) // the caller's own
		second, err := t.Launch(t.ctx, "launch-1", before)
		if err != nil || second.CloudID != first.CloudID {
			t.Errorf("again = %+v, %v; first was %+v", second, err, first)
		}
		t.runs(first.CloudID)
		third, err := t.Launch(t.ctx, "launch-1", before)
		if err != nil || third.CloudID != first.CloudID {
			t.Errorf("again when it runs = %+v, %v; first was %+v", third, err, first)
		}
		if shown := t.listed(); len(shown) != 1 {
			t.Errorf("List shows %+v", shown)
		}
	}},
	{"launching at the same time with one ID gives one machine", func(t *test) {
		f := t.prepare("launch-1")
		var mu sync.Mutex
		ids := make(map[string]bool)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				m, err := t.Launch(t.ctx, "launch-1", f)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("Launch: %v", err)
					return
				}
				ids[m.CloudID] = true
			})
		}
		all.Wait()
		if len(ids) != 1 {
			t.Errorf("one launch gave the machines %v", ids)
		}
		for id := range ids {
			t.runs(id)
		}
		if shown := t.listed(); len(shown) != 1 {
			t.Errorf("List shows %+v", shown)
		}
	}},
	{"another request with a used ID is ErrLaunchOver and leaves the machine", func(t *test) {
		m := t.launch("launch-1")
		other := t.Spec
		other.LaunchID, other.Type = "launch-1", "m7i.large"
		f, err := t.Prepare(t.ctx, other)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := t.Launch(t.ctx, "launch-1", f); !errors.Is(err, pool.ErrLaunchOver) {
			t.Errorf("Launch = %v, want ErrLaunchOver", err)
		}
		t.runs(m.CloudID)
	}},
	{"a launch ID is spent once its machine has ended", func(t *test) {
		f := t.prepare("launch-1")
		m, err := t.Launch(t.ctx, "launch-1", f)
		if err != nil {
			t.Fatal(err)
		}
		t.runs(m.CloudID)
		t.end(m.CloudID)
		t.ends(m.CloudID)
		if again, err := t.Launch(t.ctx, "launch-1", f); !errors.Is(err, pool.ErrLaunchOver) {
			t.Errorf("Launch = %+v, %v, want ErrLaunchOver", again, err)
		}
	}},
	{"a cloud ID is not used twice", func(t *test) {
		first := t.launch("launch-1")
		t.runs(first.CloudID)
		t.end(first.CloudID)
		t.ends(first.CloudID)
		second := t.launch("launch-2")
		if second.CloudID == first.CloudID {
			t.Fatalf("both launches gave %s: a late termination of the first would end the second", first.CloudID)
		}
		t.end(first.CloudID)
		t.runs(second.CloudID)
	}},
	{"two launches give two machines", func(t *test) {
		t.two()
		first, second := t.launch("launch-1"), t.launch("launch-2")
		if first.CloudID == second.CloudID {
			t.Fatalf("both launches gave %s", first.CloudID)
		}
		if a, b := t.runs(first.CloudID).Address, t.runs(second.CloudID).Address; a == b {
			t.Errorf("two machines have the address %s", a)
		}
	}},
	{"a launch beyond the room there is fails with ErrCapacity and starts nothing", func(t *test) {
		if !t.OneMachine {
			t.Skip("skipped: this cloud has room for many machines")
		}
		first := t.launch("launch-1")
		f := t.prepare("launch-2")
		if m, err := t.Launch(t.ctx, "launch-2", f); !errors.Is(err, pool.ErrCapacity) {
			t.Fatalf("Launch = %+v, %v, want ErrCapacity", m, err)
		}
		t.end(first.CloudID)
		t.ends(first.CloudID)
		if _, err := t.Launch(t.ctx, "launch-2", f); err != nil {
			t.Errorf("Launch when there is room again: %v", err)
		}
	}},
}

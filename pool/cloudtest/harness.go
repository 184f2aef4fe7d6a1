// Package cloudtest is the conformance suite of pool.Cloud. It tests only what the comments of the interface promise. An
// implementation declares in its Harness what it cannot do. The suite skips the cases for that, and says why.
package cloudtest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/pool"
)

// Harness gives the suite one implementation.
type Harness struct {
	// New returns a Cloud that has no machine, for one case. A case may leave machines behind. If they cost money, New must
	// register a cleanup that ends them.
	New func(t *testing.T) pool.Cloud
	// Spec describes the machines that the suite launches; the suite sets LaunchID. Default: a pool "cloudtest" and type
	// "t3.large".
	Spec pool.Spec
	// Virtual runs each case in a bubble of testing/synctest.
	Virtual bool
	// Settle is how long the suite waits for a boot, for the lag of List and for the end of a machine. Default 5 min.
	Settle time.Duration
	// OneMachine says that the Cloud has room for only one machine.
	OneMachine bool

	// Foreign makes a machine of somebody else, in reach of the Cloud's credentials. It returns the machine's cloud ID and a
	// function that reports whether the machine is alive. nil: the Cloud cannot meet such a machine.
	Foreign func(t *testing.T, c pool.Cloud) (cloudID string, alive func() bool)
	// Protect makes the termination of one machine fail. nil: a termination cannot fail.
	Protect func(t *testing.T, c pool.Cloud, cloudID string)
	// Foretell gives a machine an outlook, with some reason. nil: the Cloud has no outlooks.
	Foretell func(t *testing.T, c pool.Cloud, cloudID string, o pool.Outlook)
	// Hang makes all further calls hang until their context ends. nil: no call waits.
	Hang func(t *testing.T, c pool.Cloud)
}

// test is the run of one case.
type test struct {
	*testing.T
	Harness
	pool.Cloud
	ctx context.Context
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	if h.Spec.Pool == "" {
		h.Spec = pool.Spec{Pool: "cloudtest", PoolUID: "cloudtest-1", Type: "t3.large"}
	}
	if h.Settle == 0 {
		h.Settle = 5 * time.Minute
	}
	for _, group := range [][]rule{launching, listing, ending, waiting} {
		for _, r := range group {
			t.Run(r.name, func(t *testing.T) {
				body := func(t *testing.T) {
					r.holds(&test{T: t, Harness: h, Cloud: h.New(t), ctx: t.Context()})
				}
				if h.Virtual {
					synctest.Test(t, body)
				} else {
					body(t)
				}
			})
		}
	}
}

// rule is one case. Its name is the rule that the case tests.
type rule struct {
	name  string
	holds func(t *test)
}

// prepare returns the request of a launch.
func (t *test) prepare(id string) pool.Frozen {
	t.Helper()
	spec := t.Spec
	spec.LaunchID = id
	f, err := t.Prepare(t.ctx, spec)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	return f
}

// launch starts a machine.
func (t *test) launch(id string) pool.Machine {
	t.Helper()
	m, err := t.Launch(t.ctx, id, t.prepare(id))
	if err != nil {
		t.Fatalf("Launch: %v", err)
	}
	return m
}

// end ends machines, none of which may fail.
func (t *test) end(cloudIDs ...string) {
	t.Helper()
	failed, err := t.Terminate(t.ctx, cloudIDs...)
	if err != nil || len(failed) > 0 {
		t.Fatalf("Terminate(%q) = %v, %v", cloudIDs, failed, err)
	}
}

// listed returns the machines that List shows, by cloud ID.
func (t *test) listed() map[string]pool.Machine {
	t.Helper()
	all, err := t.List(t.ctx)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	byID := make(map[string]pool.Machine, len(all))
	for _, m := range all {
		if _, twice := byID[m.CloudID]; twice {
			t.Errorf("List shows %s twice", m.CloudID)
		}
		byID[m.CloudID] = m
	}
	return byID
}

// eventually waits until a condition holds for the machines that List shows.
func (t *test) eventually(what string, holds func(map[string]pool.Machine) bool) {
	t.Helper()
	deadline := time.Now().Add(t.Settle)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		shown := t.listed()
		if holds(shown) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is not so that %s. List shows %+v", t.Settle, what, shown)
		}
		time.Sleep(pause)
	}
}

// runs waits until a machine runs, and returns it.
func (t *test) runs(cloudID string) (m pool.Machine) {
	t.Helper()
	t.eventually(cloudID+" runs", func(shown map[string]pool.Machine) bool {
		m = shown[cloudID]
		return m.State == pool.MachineRunning
	})
	return m
}

// ends waits until a machine has ended.
func (t *test) ends(cloudID string) {
	t.Helper()
	t.eventually(cloudID+" ends", func(shown map[string]pool.Machine) bool {
		m, there := shown[cloudID]
		return !there || m.State == pool.MachineEnded
	})
}

// two skips a case that needs two machines if there is room for only one.
func (t *test) two() {
	t.Helper()
	if t.OneMachine {
		t.Skip("skipped: this cloud has one machine")
	}
}

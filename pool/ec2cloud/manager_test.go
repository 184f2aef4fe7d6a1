package ec2cloud_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// TestPoolOnEC2 runs the pool's real Manager over EC2's wire protocol, with its lags and limits, through the faults of an
// hour. At the end there is the right number of instances, and all of them are known.
func TestPoolOnEC2(t *testing.T) {
	change := func(r *rig) {
		r.opts.Types, r.opts.Spot = []string{"m7i.large", "m5.large"}, ec2cloud.SpotFirst
		r.server.Throttle(1)
		r.server.SetCapacity("us-east-1a", "m7i.large", ec2test.Spot, 0)
		r.server.LoseAnswers(run, 2)
		r.server.Overshoot(1)
	}
	inRig(t, ec2test.Options{}, change, func(r *rig) {
		_, ready, stop := r.manage(func(c *pool.Config) { c.InstanceType, c.MinInstances = "m7i.large", 3 })
		settled := func(what string) {
			r.Helper()
			time.Sleep(15 * time.Minute)
			if n, alive := ready(), r.alive(); n != 3 || alive != 3 {
				r.Errorf("after %s: %d instances are ready, and %d are there", what, n, alive)
			}
		}
		settled("answers that were lost, and an instance too many")
		all := r.server.Instances()
		r.server.Terminate(all[len(all)-1].ID)
		settled("an end from outside")
		for _, i := range r.server.Instances() {
			if i.State == ec2test.Running {
				r.server.InterruptSpot(i.ID)
			}
		}
		settled("all spot instances were taken back")
		r.server.SetQuota(ec2test.Spot, 0)
		r.server.EndAtBoot(1, "Client.InternalError")
		r.server.Stop(r.server.Instances()[len(r.server.Instances())-1].ID)
		settled("one was stopped, while the quota is used up")
		stop()
	})
}

// manage runs a Manager over the Cloud until the test ends or stop is called. ready returns how many instances serve.
func (r *rig) manage(change func(*pool.Config)) (m *pool.Manager, ready func() int, stop func()) {
	r.Helper()
	db := memstore.New()
	held := store.Lease{ID: "planner", Holder: "replica", Fence: 1}
	err := db.Update(r.Context(), nil, func(tx store.Tx) error {
		if err := tx.Put(&held); err != nil {
			return err
		}
		return tx.Put(&store.Pool{UID: "uid-1"})
	})
	if err != nil {
		r.Fatal(err)
	}
	cfg := pool.Config{
		Name: "p1", Cloud: r.cloud, Store: db, InstanceType: "t3.large", MinInstances: 1, MaxInstances: 4, SlotsPerInstance: 10,
		Logger: r.opts.Logger,
		Boot: func(context.Context, string) ([]byte, string, error) {
			return []byte(secret), "trust", nil
		},
		Probe: func(_ context.Context, in *store.Instance) error {
			if !strings.HasPrefix(in.Address, "tcp://10.0.") || r.server.Instance(in.CloudID).State != ec2test.Running {
				return context.DeadlineExceeded
			}
			return nil
		},
		Demand: func(context.Context) (int, error) { return 0, nil },
	}
	change(&cfg)
	m = pool.NewManager(cfg)
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx, held)
	}()
	ready = func() (n int) {
		err := db.View(r.Context(), func(v store.View) error {
			all, err := v.Instances(store.InstanceQuery{Placeable: true, Page: store.Page{Limit: 10}})
			n = len(all)
			return err
		})
		if err != nil {
			r.Fatal(err)
		}
		return n
	}
	return m, ready, func() {
		cancel()
		<-done
	}
}

// TestFault30AnotherWayIsTriedAtOnce measures the cost of refusals after which another type, zone or market has room.
func TestFault30AnotherWayIsTriedAtOnce(t *testing.T) {
	both := func(r *rig) {
		r.opts.Types, r.opts.Spot, r.opts.RateShare = []string{"m7i.large", "m5.large"}, ec2cloud.SpotFirst, 1
	}
	for name, c := range map[string]struct {
		refuse func(r *rig)
		calls  int
		way    string
	}{
		"no capacity of a type": {func(r *rig) { r.server.SetCapacity("", "m7i.large", ec2test.Spot, 0) }, 3, "spot m5.large us-east-1a"},
		"no spot capacity":      {func(r *rig) { r.server.SetCapacity("", "", ec2test.Spot, 0) }, 5, "on-demand m7i.large us-east-1a"},
		"no spot quota":         {func(r *rig) { r.server.SetQuota(ec2test.Spot, 0) }, 2, "on-demand m7i.large us-east-1a"},
		"a zone without the type": {func(r *rig) { r.server.Withhold("us-east-1a", "m7i.large") }, 2,
			"spot m7i.large us-east-1b"},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, quick, both, func(r *rig) {
				c.refuse(r)
				m, ready, stop := r.manage(func(*pool.Config) {})
				defer stop()
				time.Sleep(3 * time.Second) // the shortest pause after a failed launch is five
				if n := r.server.Calls(run); n != c.calls || r.way() != c.way || r.alive() != 1 {
					r.Errorf("after 3 s, %d calls, the last for %s; %d instances", n, r.way(), r.alive())
				}
				time.Sleep(time.Minute)
				if s := m.Stats(); ready() != 1 || s.LaunchFailures != int64(c.calls)-1 || r.server.Calls(run) != c.calls {
					r.Errorf("%d serve; %+v", ready(), s)
				}
				tokens := make(map[string]bool)
				for _, q := range r.server.Requests(run) {
					tokens[q.Form.Get("ClientToken")] = true
				}
				if len(tokens) != c.calls {
					r.Errorf("%d launch IDs for %d calls", len(tokens), c.calls)
				}
			})
		})
	}
}

// TestFault30NoWayIsLeft: a refusal that concerns all ways pauses the launches.
func TestFault30NoWayIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		refuse     func(r *rig)
		first, all int // calls in 3 s, and at most in the window of three minutes
	}{
		"no capacity at all":     {func(r *rig) { r.server.SetCapacity("", "", ec2test.OnDemand, 0) }, 2, 2},
		"no quota":               {func(r *rig) { r.server.SetQuota(ec2test.OnDemand, 0) }, 1, 1},
		"a limit of the account": {func(r *rig) { r.server.SetInstanceLimit(0) }, 1, 1},
		"the right is missing":   {func(r *rig) { r.server.Deny(run) }, 1, 7},
		"throttled":              {func(r *rig) { r.server.Fail(run, 1000, "RequestLimitExceeded") }, 2, 20},
		"a request that is bad":  {func(r *rig) { r.server.Fail(run, 1000, "InvalidParameterValue") }, 1, 6},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, quick, nil, func(r *rig) {
				c.refuse(r)
				_, _, stop := r.manage(func(*pool.Config) {})
				defer stop()
				time.Sleep(3 * time.Second)
				if n := r.server.Calls(run); n > c.first || n < 1 {
					r.Errorf("%d calls in 3 s", n)
				}
				time.Sleep(170 * time.Second)
				if n := r.server.Calls(run); n > c.all {
					r.Errorf("%d calls in three minutes", n)
				}
			})
		})
	}
}

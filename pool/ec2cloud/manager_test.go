package ec2cloud_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// TestPoolOnEC2 runs the pool's real Manager over EC2's wire protocol, with its lags and limits, through the faults of
// an hour. What it has to show for it is the right number of instances, all of them known.
func TestPoolOnEC2(t *testing.T) {
	change := func(r *rig) {
		r.opts.Types, r.opts.Spot = []string{"m7i.large", "m5.large"}, ec2cloud.SpotFirst
		r.server.Throttle(1)
		r.server.SetCapacity("us-east-1a", "m7i.large", ec2test.Spot, 0)
		r.server.LoseAnswers(run, 2)
		r.server.Overshoot(1)
	}
	inRig(t, ec2test.Options{}, change, func(r *rig) {
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
		m := pool.NewManager(pool.Config{
			Name: "p1", Cloud: r.cloud, Store: db, InstanceType: "m7i.large", MinInstances: 3, MaxInstances: 4, SlotsPerInstance: 10,
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
		})
		ctx, cancel := context.WithCancel(r.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Run(ctx, held)
		}()
		ready := func() (n int) {
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
		cancel()
		<-done
	})
}

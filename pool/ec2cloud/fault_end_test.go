package ec2cloud_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
)

// many launches n instances and waits until they run.
func (r *rig) many(n int) (ids []string) {
	r.Helper()
	for i := range n {
		m, err := r.try(fmt.Sprint("launch-", i))
		if err != nil {
			r.Fatal(err)
		}
		ids = append(ids, m.CloudID)
	}
	time.Sleep(10 * time.Second)
	return ids
}

func TestFault20TerminationWithoutEffect(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		m := r.launch("launch-1")
		r.server.IgnoreTerminations(m.CloudID, 1)
		r.end(m.CloudID)
		if got := r.listed(m.CloudID); got.State != pool.MachineRunning {
			r.Errorf("List = %+v: it runs, whatever was accepted", got)
		}
		r.end(m.CloudID)
		if got := r.listed(m.CloudID); got.State != pool.MachineEnding {
			r.Errorf("List = %+v", got)
		}
	})
}

func TestFault21ShutdownOfTheSystemIsSkipped(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		r.end(r.many(3)...)
		all := r.server.Requests(terminate)
		if len(all) != 1 || all[0].Form.Get("SkipOsShutdown") != "true" || all[0].Form.Get("InstanceId.3") == "" {
			r.Errorf("%d calls: %v", len(all), all[0].Form)
		}
	})
}

func TestFault22OneInstanceSpoilsABatch(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		ids := r.many(40)
		r.server.Protect(ids[7], true)
		r.server.Terminate(ids[20])
		r.listed("")
		time.Sleep(90 * time.Minute) // it is forgotten
		failed, err := r.cloud.Terminate(r.Context(), append(slices.Clone(ids), "i-0123456789abcdef0", "not an ID")...)
		if err != nil || len(failed) != 1 || failed[ids[7]] == nil {
			r.Errorf("Terminate = %v, %v", failed, err)
		}
		if n := r.alive(); n != 1 {
			r.Errorf("%d are alive", n)
		}
		if n := r.server.Calls(terminate); n > 25 {
			r.Errorf("%d calls for 40 instances, two of which spoil them", n)
		}
	})
}

func TestFault23TerminationIsDenied(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		ids := r.many(30)
		r.server.Deny(terminate)
		failed, err := r.cloud.Terminate(r.Context(), ids...)
		if err != nil || len(failed) != 30 {
			r.Errorf("Terminate = %v, %v", failed, err)
		}
		for _, err := range failed {
			r.want(err, pool.ErrAuth)
		}
		if n := r.server.Calls(terminate); n > 12 {
			r.Errorf("%d calls, all of them denied", n)
		}
		r.server.Allow(terminate)
		r.end(ids...)
	})
}

func TestFault23TerminationProtection(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		m := r.launch("launch-1")
		r.server.Protect(m.CloudID, true)
		failed, err := r.cloud.Terminate(r.Context(), m.CloudID)
		if err != nil {
			r.Error(err)
		}
		r.want(failed[m.CloudID], pool.ErrPermanent)
		if got := r.listed(m.CloudID); got.State != pool.MachineRunning {
			r.Errorf("%+v", got)
		}
		r.server.Protect(m.CloudID, false)
		r.end(m.CloudID)
	})
}

func TestTerminationWithoutAnAnswer(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		ids := r.many(2)
		r.server.Fail(terminate, 3, "InternalError")
		_, err := r.cloud.Terminate(r.Context(), ids...)
		r.want(err, nil)
		r.server.LoseAnswers(terminate, 1) // which the SDK repeats
		r.end(ids...)
		if n := r.alive(); n != 0 {
			r.Errorf("%d are alive", n)
		}
	})
}

func TestInstancesOfAnotherPoolAreLeftAlone(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		m := r.launch("launch-1")
		r.opts.Pool = "p2"
		other := r.connect()
		time.Sleep(10 * time.Minute)
		failed, err := other.Terminate(r.Context(), m.CloudID)
		if err != nil || !errors.Is(failed[m.CloudID], pool.ErrPermanent) || r.alive() != 1 {
			r.Errorf("Terminate = %v, %v", failed, err)
		}
		if all, err := other.List(r.Context()); err != nil || len(all) > 0 {
			r.Errorf("List = %+v, %v", all, err)
		}
	})
}

func TestFault29SpotRequestsAreCancelled(t *testing.T) {
	change := func(r *rig) { r.opts.Spot = ec2cloud.SpotFirst }
	inRig(t, quick, change, func(r *rig) {
		ids := r.many(3)
		for _, q := range r.server.Requests(run) {
			if q.Form.Get("InstanceMarketOptions.SpotOptions.SpotInstanceType") != "one-time" {
				r.Errorf("a request that may come back: %v", q.Form)
			}
		}
		r.server.IgnoreTerminations(ids[0], 1) // so that its request does not close by itself
		r.end(ids[:2]...)
		cancelled := r.server.Requests("ec2:CancelSpotInstanceRequests")
		if len(cancelled) != 1 || cancelled[0].Form.Get("SpotInstanceRequestId.1") != r.server.Instance(ids[0]).SpotRequestID || cancelled[0].Form.Has("SpotInstanceRequestId.2") {
			r.Errorf("cancelled: %+v", cancelled)
		}
		// The termination succeeds although the request cannot be cancelled.
		r.server.Deny("ec2:CancelSpotInstanceRequests")
		r.server.IgnoreTerminations(ids[2], 1)
		r.end(ids[2])
		if is := r.server.Instance(ids[1]); is.State == ec2test.Running {
			r.Errorf("%+v", is)
		}
	})
}

package ec2cloud_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
)

func TestListOffTheWire(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		m := r.launch("launch-1")
		got, is := r.listed(m.CloudID), r.server.Instance(m.CloudID)
		want := pool.Machine{
			LaunchID: "launch-1", PoolUID: "uid-1", CloudID: is.ID, Address: "tcp://" + is.PrivateIP + ":2376",
			State: pool.MachineRunning, Launched: got.Launched, Type: "t3.large", Zone: "us-east-1a",
		}
		if got != want || got.Launched.Unix() != is.Launched.Unix() {
			r.Errorf("%+v, want %+v", got, want)
		}
		form := r.server.Requests(list)[0].Form
		if form.Get("Filter.1.Name") != "tag:berth:pool" || form.Get("Filter.1.Value.1") != "p1" || form.Get("MaxResults") != "1000" {
			r.Errorf("asked with %v", form)
		}
	})
}

func TestListHasPages(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		tags := []types.TagSpecification{{ResourceType: "instance", Tags: []types.Tag{{Key: aws.String("berth:pool"), Value: aws.String("p1")}}}}
		subnet := r.server.AddSubnet("us-east-1a", "10.8.0.0/20")
		for _, n := range []int32{1000, 1} {
			_, err := ec2.NewFromConfig(*r.opts.AWS).RunInstances(r.Context(), &ec2.RunInstancesInput{
				ImageId: aws.String(r.server.Image(ec2test.ECSAmd64)), InstanceType: "t3.large", SubnetId: &subnet,
				MinCount: &n, MaxCount: &n, TagSpecifications: tags,
			})
			if err != nil {
				r.Fatal(err)
			}
		}
		all, err := r.cloud.List(r.Context())
		if err != nil || len(all) != 1001 || r.server.Calls(list) != 2 {
			r.Errorf("%d machines in %d pages, %v", len(all), r.server.Calls(list), err)
		}
	})
}

func TestFault06NewInstanceIsNotKnown(t *testing.T) {
	lag := quick
	lag.LaunchLag = time.Minute
	inRig(t, lag, nil, func(r *rig) {
		m := r.launch("launch-1")
		if got := r.listed(m.CloudID); got.CloudID != "" {
			r.Fatalf("List shows %+v", got)
		}
		failed, err := r.cloud.Terminate(r.Context(), m.CloudID)
		if err != nil || failed[m.CloudID] == nil {
			r.Errorf("Terminate = %v, %v: it is alive, whatever EC2 says", failed, err)
		}
		time.Sleep(time.Minute)
		r.end(m.CloudID)
		if n := r.alive(); n != 0 {
			r.Errorf("%d are alive", n)
		}
	})
}

func TestFault07TagsAreLate(t *testing.T) {
	lag := quick
	lag.TagLag = time.Minute
	inRig(t, lag, nil, func(r *rig) {
		m := r.launch("launch-1")
		if got := r.listed(m.CloudID); got.CloudID != "" {
			r.Fatalf("List shows %+v", got)
		}
		other := r.connect() // which has not launched it
		failed, err := other.Terminate(r.Context(), m.CloudID)
		if err != nil || failed[m.CloudID] == nil || r.alive() != 1 {
			r.Errorf("Terminate = %v, %v: it may be somebody else's", failed, err)
		}
		time.Sleep(time.Minute)
		if got := r.listed(m.CloudID); got.LaunchID != "launch-1" {
			r.Errorf("%+v", got)
		}
		if failed, err := other.Terminate(r.Context(), m.CloudID); err != nil || len(failed) > 0 || r.alive() != 0 {
			r.Errorf("Terminate = %v, %v", failed, err)
		}
	})
}

func TestFault19EndedFromOutside(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		m := r.launch("launch-1")
		r.server.Terminate(m.CloudID)
		if got := r.listed(m.CloudID); got.State != pool.MachineEnding {
			r.Errorf("%+v", got)
		}
		time.Sleep(time.Minute)
		got := r.listed(m.CloudID)
		if got.State != pool.MachineEnded || !strings.HasPrefix(got.Reason, "Client.UserInitiatedShutdown") || got.Address != "" {
			r.Errorf("%+v", got)
		}
		r.end(m.CloudID)
		time.Sleep(3 * time.Hour)
		r.end(m.CloudID) // nothing knows it any more
	})
}

func TestFault24StoppedByAWS(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		m := r.launch("launch-1")
		r.server.Schedule(m.CloudID, "instance-retirement", time.Now().Add(time.Hour))
		got := r.listed(m.CloudID)
		if got.State != pool.MachineRunning || got.Outlook != pool.OutlookRetiring || !strings.Contains(got.Reason, "instance-retirement at ") {
			r.Errorf("%+v", got)
		}
		r.server.Stop(m.CloudID)
		for range 2 { // stopping, stopped
			got = r.listed(m.CloudID)
			if got.State != pool.MachineStopped || !strings.HasPrefix(got.Reason, "Server.ScheduledStop") || got.Outlook != pool.OutlookGood {
				r.Errorf("%+v", got)
			}
			time.Sleep(time.Minute)
		}
		r.end(m.CloudID)
	})
}

func TestFault25StatusChecksFail(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		m := r.launch("launch-1")
		for _, check := range []ec2test.Check{ec2test.SystemCheck, ec2test.InstanceCheck} {
			r.server.Impair(m.CloudID, check)
			time.Sleep(119 * time.Second)
			if got := r.listed(m.CloudID); got.Outlook != pool.OutlookGood {
				r.Errorf("after 119 s: %+v", got)
			}
			time.Sleep(2 * time.Minute)
			if got := r.listed(m.CloudID); got.Outlook != pool.OutlookImpaired || !strings.Contains(got.Reason, string(check)) {
				r.Errorf("after 4 min: %+v", got)
			}
			r.server.Recover(m.CloudID, check)
			time.Sleep(2 * time.Minute)
			if got := r.listed(m.CloudID); got.Outlook != pool.OutlookGood || got.Reason != "" {
				r.Errorf("when it is well again: %+v", got)
			}
		}
	})
}

func TestFault26SpotNotice(t *testing.T) {
	change := func(r *rig) { r.opts.Spot = ec2cloud.SpotOnly }
	inRig(t, quick, change, func(r *rig) {
		m := r.launch("launch-1")
		r.listed(m.CloudID)
		if was := r.way(); was != "spot t3.large us-east-1a" {
			r.Fatal(was)
		}
		r.server.InterruptSpot(m.CloudID)
		time.Sleep(time.Minute)
		got := r.listed(m.CloudID)
		if got.Outlook != pool.OutlookInterrupted || !strings.HasPrefix(got.Reason, "marked-for-termination") || got.State != pool.MachineRunning {
			r.Errorf("a minute after the notice: %+v", got)
		}
		time.Sleep(90 * time.Second)
		if got := r.listed(m.CloudID); got.State != pool.MachineEnded || !strings.Contains(got.Reason, "SpotInstanceTermination") {
			r.Errorf("%+v", got)
		}
		r.wantWays("where it was taken back there is no room", "spot t3.large us-east-1b")
	})
}

// TestOutlookThatCannotBeAskedFor: List shows instances also if it cannot ask for their outlooks.
func TestOutlookThatCannotBeAskedFor(t *testing.T) {
	change := func(r *rig) { r.opts.Spot = ec2cloud.SpotOnly }
	inRig(t, quick, change, func(r *rig) {
		m := r.launch("launch-1")
		r.server.Schedule(m.CloudID, "instance-stop", time.Now())
		if got := r.listed(m.CloudID); got.Outlook != pool.OutlookRetiring {
			r.Fatalf("%+v", got)
		}
		r.server.Hang(status, 9)
		r.server.Hang(spotStatus, 9)
		time.Sleep(2 * time.Minute)
		begun := time.Now()
		if got := r.listed(m.CloudID); got.Outlook != pool.OutlookRetiring || time.Since(begun) > 6*time.Second {
			r.Errorf("after %v: %+v", time.Since(begun), got)
		}
		if !strings.Contains(r.log.String(), "cannot ask for the outlooks of instances") {
			r.Error("it was not told")
		}
	})
}

func TestFault22OneInstanceSpoilsAStatus(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		ids := r.many(5)
		r.server.Schedule(ids[3], "instance-stop", time.Now())
		r.server.Fail(status, 2, "InvalidInstanceID.NotFound")
		if got := r.listed(ids[3]); got.Outlook != pool.OutlookRetiring {
			r.Errorf("%+v", got)
		}
		r.server.Fail(status, 99, "InvalidInstanceID.NotFound")
		time.Sleep(2 * time.Minute)
		if got := r.listed(ids[3]); got.Outlook != pool.OutlookGood {
			r.Errorf("%+v", got)
		}
	})
}

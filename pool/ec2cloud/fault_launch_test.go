package ec2cloud_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
)

func TestFault02LaunchReplyIsLost(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		f := r.prepare("launch-1")
		for _, lose := range []func(string, int){r.server.LoseRequests, r.server.LoseAnswers, r.server.LoseAnswers} {
			lose(run, 1)
			_, err := r.cloud.Launch(r.Context(), "launch-1", f)
			r.want(err, nil)
		}
		r.cloud = r.connect() // another process goes on
		m, err := r.cloud.Launch(r.Context(), "launch-1", f)
		if all := r.server.Instances(); err != nil || len(all) != 1 || m.CloudID != all[0].ID {
			r.Errorf("%+v, %v; there are %+v", m, err, all)
		}
		if n := r.server.Calls(run); n != 4 {
			r.Errorf("%d calls: the SDK has repeated some by itself", n)
		}
	})
}

func TestFault02LaunchTimesOut(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		f := r.prepare("launch-1")
		r.server.Slow(run, 1, time.Hour)
		begun := time.Now()
		_, err := r.cloud.Launch(r.Context(), "launch-1", f)
		r.want(err, nil)
		if took := time.Since(begun); took != 30*time.Second {
			r.Errorf("it gave up after %v", took)
		}
		r.server.Slow(run, 1, 10*time.Second)
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if _, err = r.cloud.Launch(ctx, "launch-1", f); !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("with a deadline: %v", err)
		}
		time.Sleep(10 * time.Second) // the call has its effect all the same
		m, err := r.cloud.Launch(r.Context(), "launch-1", f)
		if all := r.server.Instances(); err != nil || len(all) != 1 || m.CloudID != all[0].ID {
			r.Errorf("%+v, %v; there are %+v", m, err, all)
		}
	})
}

func TestFault03ReplayWithAnotherRequest(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		first := r.prepare("launch-1")
		m, err := r.cloud.Launch(r.Context(), "launch-1", first)
		if err != nil {
			r.Fatal(err)
		}
		// A new launch would be another request; the frozen request stays as it is.
		r.server.ReleaseImage(ec2test.ECSAmd64)
		r.opts.Types, r.opts.Tags = []string{"m7i.large"}, map[string]string{"a": "b"}
		r.cloud = r.connect()
		if again, err := r.cloud.Launch(r.Context(), "launch-1", first); err != nil || again.CloudID != m.CloudID {
			r.Errorf("the same request: %+v, %v", again, err)
		}
		_, err = r.cloud.Launch(r.Context(), "launch-1", r.prepare("launch-1"))
		r.want(err, pool.ErrLaunchOver)
	})
}

func TestFault04LaunchIsOver(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		f := r.prepare("launch-1")
		m, err := r.cloud.Launch(r.Context(), "launch-1", f)
		if err != nil {
			r.Fatal(err)
		}
		r.server.Terminate(m.CloudID)
		for range 3 { // while it shuts down, when it has ended, and when nothing shows it any more
			_, err = r.cloud.Launch(r.Context(), "launch-1", f)
			r.want(err, pool.ErrLaunchOver)
			time.Sleep(time.Hour)
		}
	})
}

func TestFault13TheReasonIsTold(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		r.server.EndAtBoot(1, "Client.InternalError")
		got := r.listed(r.launch("launch-1").CloudID)
		if got.State != pool.MachineEnded || got.Reason != "Client.InternalError: Client error on launch" {
			r.Errorf("%+v", got)
		}
	})
}

func TestFault40NoRoomAfterTheLaunch(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		r.server.EndAtBoot(1, "Server.InsufficientInstanceCapacity")
		m := r.launch("launch-1")
		if was := r.way(); was != "on-demand t3.large us-east-1a" {
			r.Fatal(was)
		}
		got := r.listed(m.CloudID)
		if got.State != pool.MachineEnded || !strings.Contains(got.Reason, "insufficient capacity") {
			r.Errorf("%+v", got)
		}
		r.launch("launch-2") // EC2 has no room there, whatever it said first
		if is := r.way(); is != "on-demand t3.large us-east-1b" {
			r.Error(is)
		}
		time.Sleep(3 * time.Minute)
		r.listed(m.CloudID) // shows the same end still, which is no news
		r.wantWays("three minutes later", "on-demand t3.large us-east-1a")
	})
}

func TestFault32OneInstancePerCall(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		r.server.SetQuota(ec2test.OnDemand, 6) // three
		made := 0
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			if _, err := r.try(id); err == nil {
				made++
			}
			if form := r.sent(); form["MinCount"] != "1" || form["MaxCount"] != "1" {
				r.Errorf("%s to %s in one call", form["MinCount"], form["MaxCount"])
			}
		}
		if made != 3 || r.alive() != 3 {
			r.Errorf("%d were launched, %d are there", made, r.alive())
		}
	})
}

func TestFault33MoreThanWasAskedFor(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		r.server.Overshoot(1)
		f := r.prepare("launch-1")
		m, err := r.cloud.Launch(r.Context(), "launch-1", f)
		if err != nil {
			r.Fatal(err)
		}
		if again, err := r.connect().Launch(r.Context(), "launch-1", f); err != nil || again.CloudID != m.CloudID {
			r.Errorf("another process takes %+v, %v", again, err)
		}
		all, err := r.cloud.List(r.Context())
		if err != nil || len(all) != 2 || all[0].LaunchID != "launch-1" || all[1].LaunchID != "launch-1" {
			r.Errorf("List = %+v, %v: the pool must see both", all, err)
		}
		if !strings.Contains(r.log.String(), "several instances for one launch") {
			r.Errorf("it was not told: %s", r.log)
		}
		r.end(all[0].CloudID, all[1].CloudID)
		if n := r.alive(); n != 0 {
			r.Errorf("%d are left", n)
		}
	})
}

func TestFault41InstanceProfileIsLate(t *testing.T) {
	change := func(r *rig) { r.opts.InstanceProfile = "host" }
	inRig(t, quick, change, func(r *rig) {
		f := r.prepare("launch-1")
		_, err := r.cloud.Launch(r.Context(), "launch-1", f)
		r.want(err, pool.ErrPermanent) // it does not exist
		if n := r.server.Calls(run); n != 5 {
			r.Errorf("%d tries", n)
		}
		r.server.AddInstanceProfile("host", 10*time.Second)
		if _, err := r.cloud.Launch(r.Context(), "launch-1", f); err != nil {
			r.Error(err)
		}
	})
}

// TestAfterAnErrorTheLaunchCanBeRepeated: a refusal does not spend the launch ID, and the request stays as it is.
func TestAfterAnErrorTheLaunchCanBeRepeated(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		f := r.prepare("launch-1")
		before := bytes.Clone(f)
		r.server.SetCapacity("", "", ec2test.OnDemand, 0)
		_, err := r.cloud.Launch(r.Context(), "launch-1", f)
		r.want(err, pool.ErrCapacity)
		r.server.SetCapacity("", "", ec2test.OnDemand, -1)
		if _, err := r.cloud.Launch(r.Context(), "launch-1", f); err != nil || !bytes.Equal(f, before) {
			r.Error(err)
		}
	})
}

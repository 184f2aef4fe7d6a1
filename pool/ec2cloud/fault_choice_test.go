package ec2cloud_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
)

// ways launches until a launch succeeds or no way is left, and returns the way and the error of each call.
func (r *rig) ways() (all []string, err error) {
	r.Helper()
	for n := range 20 {
		calls := r.server.Calls(run)
		_, err = r.try(fmt.Sprintf("launch-%d-%d", calls, n))
		if r.server.Calls(run) == calls {
			return all, err // it was not even tried
		}
		if all = append(all, r.way()); err == nil {
			return all, nil
		}
	}
	r.Fatal("it is tried for ever")
	return nil, nil
}

func (r *rig) wantWays(what string, want ...string) {
	r.Helper()
	got, err := r.ways()
	if err != nil || !slices.Equal(got, want) {
		r.Errorf("%s: %q, %v; want %q", what, got, err, want)
	}
}

func TestFault30NoCapacity(t *testing.T) {
	change := func(r *rig) { r.opts.Types, r.opts.Spot = []string{"m7i.large", "m5.large"}, ec2cloud.SpotFirst }
	inRig(t, quick, change, func(r *rig) {
		r.server.SetCapacity("", "m7i.large", ec2test.Spot, 0)
		r.server.SetCapacity("us-east-1a", "m5.large", ec2test.Spot, 0)
		r.server.SetCapacity("us-east-1b", "m5.large", ec2test.Spot, 1)
		r.wantWays("the next subnet, then the next type",
			"spot m7i.large us-east-1a", "spot m7i.large us-east-1b", "spot m5.large us-east-1a", "spot m5.large us-east-1b")
		r.wantWays("on demand at last", "spot m5.large us-east-1b", "on-demand m7i.large us-east-1a")
		r.wantWays("what was refused is not asked for", "on-demand m7i.large us-east-1a")
		time.Sleep(3 * time.Minute)
		got, err := r.ways()
		if err != nil || len(got) != 5 || got[4][:9] != "on-demand" {
			r.Errorf("after three minutes all is tried again: %q, %v", got, err)
		}
	})
}

func TestFault30SpotOnly(t *testing.T) {
	change := func(r *rig) { r.opts.Spot = ec2cloud.SpotOnly }
	inRig(t, quick, change, func(r *rig) {
		r.server.SetCapacity("", "", ec2test.Spot, 0)
		got, err := r.ways()
		r.want(err, pool.ErrCapacity)
		if len(got) != 2 {
			r.Errorf("%q", got)
		}
	})
}

func TestFault30ZoneWithoutTheType(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		r.server.Withhold("us-east-1a", "t3.large")
		r.wantWays("at first", "on-demand t3.large us-east-1a", "on-demand t3.large us-east-1b")
		time.Sleep(10 * time.Minute)
		r.wantWays("it will not come soon", "on-demand t3.large us-east-1b")
	})
}

func TestFault31Quota(t *testing.T) {
	change := func(r *rig) { r.opts.Types, r.opts.Spot = []string{"m7i.large", "m5.large"}, ec2cloud.SpotFirst }
	inRig(t, quick, change, func(r *rig) {
		r.server.SetQuota(ec2test.Spot, 0)
		r.wantWays("other types and zones are of no use", "spot m7i.large us-east-1a", "on-demand m7i.large us-east-1a")
		time.Sleep(9 * time.Minute)
		r.wantWays("for long", "on-demand m7i.large us-east-1b")
		r.server.SetQuota(ec2test.OnDemand, 0)
		_, err := r.ways()
		r.want(err, pool.ErrQuota)
		time.Sleep(2 * time.Minute)
		r.server.SetQuota(ec2test.Spot, -1)
		r.wantWays("spot is open again", "spot m7i.large us-east-1a")
		r.server.SetInstanceLimit(0)
		got, err := r.ways()
		r.want(err, pool.ErrQuota)
		if len(got) != 1 {
			r.Errorf("a limit for all was asked for by %q", got)
		}
	})
}

func TestFault36SubnetWithoutAddresses(t *testing.T) {
	change := func(r *rig) {
		r.opts.Subnets = []string{r.server.AddSubnet("us-east-1a", "10.9.0.0/27"), r.server.AddSubnet("us-east-1b", "10.9.1.0/28")}
	}
	inRig(t, quick, change, func(r *rig) {
		for n := range 27 + 11 {
			r.ok(r.try(fmt.Sprint("launch-", n)))
		}
		_, err := r.try("launch-x")
		r.want(err, pool.ErrCapacity)
		if n := r.server.Calls(run); n != 27+11 {
			r.Errorf("%d calls: launches that are under way were not counted", n)
		}
	})
}

func TestFault36SubnetIsMarked(t *testing.T) {
	change := func(r *rig) {
		r.opts.Subnets = []string{r.server.AddSubnet("us-east-1a", "10.9.0.0/27"), r.server.AddSubnet("us-east-1b", "10.9.1.0/28")}
	}
	inRig(t, quick, change, func(r *rig) {
		r.prepare("launch-0") // reads the subnets
		mine, both := r.cloud, r.opts.Subnets
		r.opts.Subnets = both[:1] // another process uses up all of the first
		r.cloud = r.connect()
		for n := range 27 {
			r.ok(r.try(fmt.Sprint("other-", n)))
		}
		r.cloud, r.opts.Subnets = mine, both
		r.wantWays("when nobody knows", "on-demand t3.large subnet 0", "on-demand t3.large subnet 1")
		r.wantWays("when it is marked", "on-demand t3.large subnet 1")
		time.Sleep(10 * time.Minute)
		r.wantWays("when the subnets were read again", "on-demand t3.large subnet 1")
	})
}

// ok expects a launch to have succeeded.
func (r *rig) ok(_ pool.Machine, err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func TestSubnetThatIsGoneHidesNoOther(t *testing.T) {
	change := func(r *rig) { r.opts.Subnets = append(r.opts.Subnets[1:], "subnet-0123456789abcdef0") }
	inRig(t, quick, change, func(r *rig) {
		r.wantWays("the one that is there", "on-demand t3.large us-east-1b")
	})
}

func TestDefaultSubnets(t *testing.T) {
	change := func(r *rig) { r.opts.Subnets = nil }
	inRig(t, quick, change, func(r *rig) {
		r.server.SetCapacity("us-east-1a", "", ec2test.OnDemand, 0)
		r.wantWays("the default subnets", "on-demand t3.large us-east-1a", "on-demand t3.large us-east-1b")
	})
}

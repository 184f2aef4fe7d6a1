package ec2cloud_test

import (
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool/ec2cloud"
)

func (r *rig) engineGroup() {
	r.opts.SecurityGroups = []string{r.server.AddSecurityGroup("berth", ec2test.Rule{Port: 2376, Source: "10.0.0.0/8"})}
}

// lacks expects an error of Preflight with exactly these problems.
func (r *rig) lacks(want ...string) {
	r.Helper()
	err := r.cloud.Preflight(r.Context())
	if len(want) == 0 && err == nil {
		return
	}
	if problems(err) != len(want) {
		r.Errorf("want %d problems %q: %v", len(want), want, err)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			r.Errorf("want %q: %v", w, err)
		}
	}
}

func TestPreflightFindsNothing(t *testing.T) {
	change := func(r *rig) {
		r.engineGroup()
		r.server.AddInstanceProfile("host", 0)
		r.opts.Types, r.opts.Spot, r.opts.InstanceProfile = []string{"m7i.large", "m7g.large"}, ec2cloud.SpotFirst, "host"
	}
	inRig(t, quick, change, func(r *rig) {
		r.lacks()
		r.launch("launch-1")
		r.lacks()
		if n := len(r.server.Instances()); n != 1 {
			r.Errorf("%d instances", n)
		}
		r.server.SetCapacity("", "", ec2test.OnDemand, 0) // may be over when it counts
		r.lacks()
	})
}

func TestPreflightFindsAll(t *testing.T) {
	change := func(r *rig) {
		r.opts.Types = []string{"t3.large", "t9.large", "m7g.large"}
		r.opts.Subnets = append(r.opts.Subnets, "subnet-0123456789abcdef0")
		r.opts.SecurityGroups = []string{"sg-0123456789abcdef0", r.server.AddSecurityGroup("web", ec2test.Rule{Port: 443, Source: "0.0.0.0/0"})}
		r.opts.InstanceProfile = "host"
		r.opts.ImageID = r.server.Image(ec2test.AL2023Amd64)
		r.server.Withhold("us-east-1a", "t3.large")
		r.server.Withhold("us-east-1b", "t3.large")
		r.server.Deny(status)
	}
	inRig(t, quick, change, func(r *rig) {
		r.lacks("subnet subnet-0123456789abcdef0 does not exist", "security group sg-0123456789abcdef0 does not exist",
			"opens TCP port 2376", `no instance type "t9.large"`, "is for x86_64, and the instance type is arm64",
			"no zone of the subnets has t3.large: use another type, or a subnet in one of us-east-1c",
			`the instance profile "host" does not exist`, "ec2:DescribeInstanceStatus is not allowed for arn:aws:iam::123456789012:user/berth")
		r.opts.Types, r.opts.Subnets, r.opts.SecurityGroups = []string{"m5.large"}, nil, nil
		r.engineGroup()
		r.server.Allow(status)
		r.cloud = r.connect()
		r.lacks(`the instance profile "host" does not exist`)
		if n := len(r.server.Instances()); n != 0 {
			r.Errorf("%d instances", n)
		}
	})
}

func TestPreflightFindsEveryMissingRight(t *testing.T) {
	change := func(r *rig) {
		r.engineGroup()
		r.server.AddInstanceProfile("host", 0)
		r.opts.Spot, r.opts.InstanceProfile, r.opts.PoolUID = ec2cloud.SpotFirst, "host", "uid-1"
	}
	inRig(t, quick, change, func(r *rig) {
		r.launch("launch-1") // without an instance, three of them cannot be told
		for _, action := range append(ec2cloud.CalledActions(), ec2cloud.ImpliedActions()...) {
			if action == "sts:GetCallerIdentity" || action == describeVpcs {
				continue // everybody may call the one, and berth works without the other
			}
			r.server.Deny(action)
			r.cloud = r.connect()
			err := r.cloud.Preflight(r.Context())
			if problems(err) < 1 || !strings.Contains(err.Error(), action) {
				r.Errorf("without %s: %v", action, err)
			}
			r.server.Allow(action)
		}
	})
}

func TestPreflightWithoutAnInstance(t *testing.T) {
	inRig(t, quick, (*rig).engineGroup, func(r *rig) {
		r.server.Deny(terminate) // as a policy does that is scoped by tags
		r.lacks()
		if !strings.Contains(r.log.String(), "only once the pool has an instance") {
			r.Errorf("the log: %s", r.log)
		}
	})
}

func TestPreflightWarnsOfAnOpenPort(t *testing.T) {
	change := func(r *rig) {
		r.opts.SecurityGroups = []string{r.server.AddSecurityGroup("berth", ec2test.Rule{Port: 2376, Source: "0.0.0.0/0"})}
	}
	inRig(t, quick, change, func(r *rig) {
		r.lacks()
		if !strings.Contains(r.log.String(), "everybody can reach the port") {
			r.Errorf("the log: %s", r.log)
		}
	})
}

func TestPlan(t *testing.T) {
	change := func(r *rig) {
		r.opts.Types, r.opts.Spot, r.opts.Tags = []string{"m7i.large", "m7g.large"}, ec2cloud.SpotFirst, map[string]string{"team": "build"}
	}
	inRig(t, quick, change, func(r *rig) {
		r.server.SetCapacity("us-east-1a", "m7i.large", ec2test.Spot, 0)
		_, err := r.try("launch-1")
		if err == nil {
			r.Fatal("launched")
		}
		p, err := r.cloud.Plan(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		text := p.String()
		for _, want := range []string{
			"spot m7i.large in " + r.server.Subnet("us-east-1a"), "on-demand m7g.large", "closed now", "InsufficientInstanceCapacity",
			r.server.Image(ec2test.ECSAmd64), r.server.Image(ec2test.ECSArm64), "50 GiB gp3, encrypted", "team = build", "berth:pool = p1", r.generation(),
		} {
			if !strings.Contains(text, want) {
				r.Errorf("lacks %q:\n%s", want, text)
			}
		}
		if len(p.Ways) != 8 || len(p.Closed) != 1 || r.alive() != 0 {
			r.Errorf("%+v", p)
		}
		r.noSecret("the plan", text)
	})
}

// deaf is a network in which nothing answers.
type deaf struct{ calls *atomic.Int64 }

func (d deaf) Do(*http.Request) (*http.Response, error) {
	d.calls.Add(1)
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// TestPreflightWithoutANetwork: if nothing answers, that is one problem, and not one for each call.
func TestPreflightWithoutANetwork(t *testing.T) {
	var calls atomic.Int64
	inRig(t, quick, func(r *rig) { r.opts.AWS.HTTPClient = deaf{&calls} }, func(r *rig) {
		r.lacks("EC2 does not answer: check the network, the region us-east-1")
		if n := calls.Load(); n > 9 {
			r.Errorf("%d calls", n)
		}
	})
}

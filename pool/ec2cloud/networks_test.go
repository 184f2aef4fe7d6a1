package ec2cloud_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestNetworksOfTheVPC(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(r *rig)
		want  string
		warns bool
	}{
		"all":                    {func(*rig) {}, "[10.0.0.0/16 10.0.0.0/24 10.0.1.0/24 100.64.0.0/16]", false},
		"without the right":      {func(r *rig) { r.server.Deny(describeVpcs) }, "[10.0.0.0/24 10.0.1.0/24]", true},
		"not to be had":          {func(r *rig) { r.server.Fail(describeVpcs, 3, "InvalidAction") }, "[10.0.0.0/24 10.0.1.0/24]", true},
		"an error of the server": {func(r *rig) { r.server.Fail(describeVpcs, 3, "InternalError") }, "[10.0.0.0/24 10.0.1.0/24]", true},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, quick, (*rig).engineGroup, func(r *rig) {
				r.server.AddVPCBlock("100.64.0.0/16", true)
				r.server.AddVPCBlock("100.65.0.0/16", false)
				if n := r.cloud.Networks(); len(n) != 0 {
					r.Errorf("before it was asked: %v", n)
				}
				c.spoil(r)
				r.lacks()
				if got := fmt.Sprint(r.cloud.Networks()); got != c.want {
					r.Errorf("%s, want %s", got, c.want)
				}
				if plan, err := r.cloud.Plan(r.Context()); err != nil || fmt.Sprint(plan.Networks) != c.want {
					r.Errorf("the plan has %v, want %s: %v", plan.Networks, c.want, err)
				}
				if warned := strings.Contains(r.log.String(), "Allow ec2:DescribeVpcs"); warned != c.warns {
					r.Errorf("the log: %s", r.log)
				}
			})
		})
	}
}

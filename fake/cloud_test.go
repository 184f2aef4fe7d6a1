package fake_test

import (
	"errors"
	"testing"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/cloudtest"
)

func TestCloudConformance(t *testing.T) {
	for name, opts := range map[string]fake.CloudOptions{"with latency": {}, "instant": {Instant: true}} {
		t.Run(name, func(t *testing.T) {
			cloudtest.Run(t, cloudtest.Harness{
				New:     func(t *testing.T) pool.Cloud { return fake.NewCloud(opts) },
				Virtual: true,
				Foreign: func(t *testing.T, c pool.Cloud) (string, func() bool) {
					id := c.(*fake.Cloud).PlantForeign()
					return id, func() bool { return machine(t, c.(*fake.Cloud), id).State != pool.MachineEnded }
				},
				Protect: func(t *testing.T, c pool.Cloud, id string) {
					c.(*fake.Cloud).FailTerminate(id, errors.New("termination protection is on"))
				},
				Foretell: func(t *testing.T, c pool.Cloud, id string, o pool.Outlook) {
					c.(*fake.Cloud).Foretell(id, o, "a notice")
				},
				Hang: func(t *testing.T, c pool.Cloud) {
					for _, v := range []fake.Verb{fake.Prepare, fake.Launch, fake.ListMachines, fake.Terminate} {
						c.(*fake.Cloud).Hang(v)
					}
				},
			})
		})
	}
}

// machine returns a machine as it really is.
func machine(t *testing.T, c *fake.Cloud, id string) fake.Machine {
	t.Helper()
	for _, m := range c.Machines() {
		if m.CloudID == id || m.LaunchID == id {
			return m
		}
	}
	t.Fatalf("there is no machine %s", id)
	return fake.Machine{}
}

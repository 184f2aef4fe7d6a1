package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/examples/internal/narrate"
	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/pool/ec2cloud"
)

// TestSystemdFleet has an instance with a real systemd and cloud-init. The instance becomes ready. Its metadata says that EC2 takes
// it back, and the pool learns that from the instance. The instance that replaces it powers itself off.
func TestSystemdFleet(t *testing.T) {
	t.Parallel()
	testenv.Image(t)
	f := &fleetTest{log: &refusals{by: make(map[string]int)}, tasks: newTasks()[4:]}
	var err error
	f.fleet, err = newFleet(t.Context(), narrate.NewPrinter(t.Output()), testenv.PoolName(t),
		options{systemd: true, spot: ec2cloud.SpotOnly, logger: slog.New(f.log)})
	skip(t, err)
	defer func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}()
	f.step(t, f.start)
	task := f.tasks[0]
	first := task.session.Info().Instance
	f.server.InterruptSpot(first.CloudID)
	eventually(t, notice, "the pool has heard it from the machine", func() bool {
		for in, err := range f.Instances(t.Context()) {
			if err == nil && in.ID == first.ID && strings.Contains(in.Reason, "the cloud has told the machine: interrupted") {
				return f.Stats().Pool.Interruptions == 1
			}
		}
		return false
	})
	f.lost(t, task)
	eventually(t, 5*time.Minute, "EC2 has taken it back", func() bool { return f.server.Instance(first.CloudID).State == ec2test.Terminated })

	f.step(t, f.start) // on the instance that replaces it
	second := task.session.Info().Instance
	if second.ID == first.ID {
		t.Errorf("the task is on %s again", second.ID)
	}
	if out, err := f.machine(second.CloudID).Run(t.Context(), "systemctl poweroff"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	f.lost(t, task)
	eventually(t, 5*time.Minute, "an instance that powers itself off is terminated", func() bool {
		i := f.server.Instance(second.CloudID)
		return i.State == ec2test.Terminated && i.Reason == "Client.InstanceInitiatedShutdown"
	})
}

package localcloud_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/cloudtest"
	"github.com/berth-go/berth/pool/localcloud"
)

func TestConformance(t *testing.T) {
	cloudtest.Run(t, cloudtest.Harness{
		New:        func(t *testing.T) pool.Cloud { return localcloud.New(localcloud.Options{Address: "unix:///x.sock"}) },
		OneMachine: true,
		Settle:     50 * time.Millisecond, // everything is so at once
	})
}

func TestLaunchOfAnEarlierRunHasTheMachine(t *testing.T) {
	c := localcloud.New(localcloud.Options{Address: "unix:///x.sock", Launch: "launch-1"})
	all, err := c.List(t.Context())
	if err != nil || len(all) != 1 || all[0].LaunchID != "launch-1" || all[0].State != pool.MachineRunning {
		t.Fatalf("List = %+v, %v", all, err)
	}
	if m, err := c.Launch(t.Context(), "launch-1", pool.Frozen("whatever")); err != nil || m.CloudID != all[0].CloudID {
		t.Errorf("Launch = %+v, %v", m, err)
	}
}

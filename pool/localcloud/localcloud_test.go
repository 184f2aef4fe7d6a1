package localcloud_test

import (
	"context"
	"errors"
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
	recorded := "launch-1"
	c := localcloud.New(localcloud.Options{
		Address: "unix:///x.sock", Launch: func(context.Context) (string, error) { return recorded, nil },
	})
	all, err := c.List(t.Context())
	if err != nil || len(all) != 1 || all[0].LaunchID != "launch-1" || all[0].State != pool.MachineRunning {
		t.Fatalf("List = %+v, %v", all, err)
	}
	if m, err := c.Launch(t.Context(), "launch-1", pool.Frozen("whatever")); err != nil || m.CloudID != all[0].CloudID {
		t.Errorf("Launch = %+v, %v", m, err)
	}
	recorded = "" // another process has ended it
	if all, err := c.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("another process has ended it, and List = %+v, %v", all, err)
	}
}

func TestLaunchOfAnotherProcessComesAndGoes(t *testing.T) {
	recorded, failure := "", error(nil)
	c := localcloud.New(localcloud.Options{
		Address: "unix:///x.sock", Launch: func(context.Context) (string, error) { return recorded, failure },
	})
	list := func(want string) {
		t.Helper()
		all, err := c.List(t.Context())
		var got string
		for _, m := range all {
			if m.State == pool.MachineRunning {
				got += m.LaunchID
			}
		}
		if got != want || err != nil {
			t.Errorf("List = %+v, %v; want %q", all, err, want)
		}
	}
	list("")
	recorded = "launch-1"
	list("launch-1")
	if _, err := c.Launch(t.Context(), "launch-2", pool.Frozen("x")); !errors.Is(err, pool.ErrCapacity) {
		t.Errorf("a second launch on one machine: %v", err)
	}
	recorded = ""
	list("")
	recorded = "launch-3"
	list("launch-3")
	failure = errors.New("no store")
	if _, err := c.List(t.Context()); !errors.Is(err, failure) {
		t.Errorf("List without its records: %v", err)
	}
}

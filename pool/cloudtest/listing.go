package cloudtest

import (
	"github.com/berth-go/berth/pool"
)

var listing = []rule{
	{"a pool without machines lists none", func(t *test) {
		if shown := t.listed(); len(shown) != 0 {
			t.Errorf("List = %+v", shown)
		}
	}},
	{"List shows a machine with its launch ID and the cloud ID that Launch gave", func(t *test) {
		m := t.launch("launch-1")
		t.eventually("launch-1 is listed", func(shown map[string]pool.Machine) bool {
			return shown[m.CloudID].LaunchID == "launch-1"
		})
	}},
	{"a machine that was listed stays listed while it is alive", func(t *test) {
		m := t.launch("launch-1")
		t.runs(m.CloudID)
		for range 20 {
			if shown := t.listed(); shown[m.CloudID].State != pool.MachineRunning {
				t.Fatalf("List = %+v, without %s", shown, m.CloudID)
			}
		}
	}},
	{"somebody else's machine is not listed", func(t *test) {
		foreign, _ := t.foreign()
		m := t.launch("launch-1")
		t.runs(m.CloudID)
		if shown := t.listed(); len(shown) != 1 || shown[foreign].CloudID != "" {
			t.Errorf("List = %+v", shown)
		}
	}},
}

// foreign makes a machine of somebody else.
func (t *test) foreign() (cloudID string, alive func() bool) {
	t.Helper()
	if t.Foreign == nil {
		t.Skip("skipped: this cloud cannot meet somebody else's machine")
	}
	return t.Foreign(t.T, t.Cloud)
}

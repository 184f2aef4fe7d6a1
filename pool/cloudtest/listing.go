package cloudtest

import (
	"fmt"

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
	{"List shows a machine once", func(t *test) {
		m := t.launch("launch-1")
		t.runs(m.CloudID)
		all, err := t.List(t.ctx)
		if err != nil || len(all) != 1 {
			t.Errorf("List = %+v, %v", all, err)
		}
	}},
	{"nothing is foretold of a machine that was just launched", func(t *test) {
		if m := t.runs(t.launch("launch-1").CloudID); m.Outlook != pool.OutlookGood {
			t.Errorf("its outlook is %q: %s", m.Outlook, m.Reason)
		}
	}},
	{"List shows the outlook of a running machine, with a reason, and of no other machine", func(t *test) {
		t.two()
		if t.Foretell == nil {
			t.Skip("skipped: this cloud foretells nothing")
		}
		for i, o := range []pool.Outlook{
			pool.OutlookRebalance, pool.OutlookImpaired, pool.OutlookRetiring, pool.OutlookInterrupted,
		} {
			m, other := t.launch(fmt.Sprint("launch-", 2*i)), t.launch(fmt.Sprint("launch-", 2*i+1))
			t.runs(m.CloudID)
			t.runs(other.CloudID)
			t.Foretell(t.T, t.Cloud, m.CloudID, o)
			t.eventually(fmt.Sprintf("the outlook of %s is %s", m.CloudID, o), func(shown map[string]pool.Machine) bool {
				return shown[m.CloudID].Outlook == o
			})
			shown := t.listed()
			if s := shown[m.CloudID]; s.State != pool.MachineRunning || s.Reason == "" {
				t.Errorf("it is %+v", s)
			}
			if s := shown[other.CloudID]; s.Outlook != pool.OutlookGood {
				t.Errorf("the other is %+v", s)
			}
			t.end(m.CloudID, other.CloudID)
		}
	}},
	{"a launch does not change the generation", func(t *test) {
		cloud, ok := t.Cloud.(pool.Versioned)
		if !ok {
			t.Skip("skipped: this cloud has no generations")
		}
		first, err := cloud.Generation(t.ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.launch("launch-1")
		if again, err := cloud.Generation(t.ctx); err != nil || again != first {
			t.Errorf("Generation = %q, %v; first it was %q", again, err, first)
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

package orchestrator

import (
	"errors"
	"testing"

	"github.com/berth-go/berth/store"
)

func TestIsolationIsNewsOnce(t *testing.T) {
	var (
		i       isolations
		rooms   = Isolation{Level: store.IsolationRooms}
		partial = Isolation{Level: store.IsolationRooms, Reason: "no memory controller"}
		uid     = Isolation{Level: store.IsolationUID, Reason: "rootless"}
	)
	for n, step := range []struct {
		now     Isolation
		news    bool
		without int
	}{
		{Isolation{}, false, 0},
		{rooms, false, 0},
		{uid, true, 1},
		{uid, false, 1},
		{Isolation{}, false, 1}, // a record that nobody has written says nothing
		{Isolation{Level: store.IsolationUID, Reason: "rootless, in other words"}, false, 1},
		{partial, true, 0},
		{partial, false, 0},
		{rooms, false, 0},
		{uid, true, 1}, // again
	} {
		if news := i.note("i-1", step.now); news != step.news || i.withoutRooms() != step.without {
			t.Errorf("step %d, %+v: news %v, %d without rooms; want %v and %d", n, step.now, news, i.withoutRooms(), step.news, step.without)
		}
	}
	if i.forget("i-1"); i.withoutRooms() != 0 {
		t.Error("a forgotten instance counts")
	}
}

// TestIsolationErrorIsStored: all that wait for a start learn its error from a record.
func TestIsolationErrorIsStored(t *testing.T) {
	for _, want := range []error{ErrNoIsolation, ErrRuntime} {
		err := error(&IsolationError{Reason: "rootless"})
		if want == ErrRuntime {
			err = errors.Join(ErrRuntime)
		}
		cause, message := Stored(err, nil)
		if again := Recalled(cause, message, nil); !errors.Is(again, want) || again.Error() != err.Error() {
			t.Errorf("%v has become %v", err, again)
		}
	}
}

func TestLimitsAreChecked(t *testing.T) {
	for field, limits := range map[string]Limits{
		"":                    {MemoryBytes: -1, CPUs: -1, PIDs: -1, TmpBytes: -1, ShmBytes: -1, Session: SessionLimits{MemoryBytes: -1, CPUWeight: -1, PIDs: -1}},
		"MemoryBytes":         {MemoryBytes: -2},
		"CPUs":                {CPUs: -0.5},
		"TmpBytes":            {TmpBytes: -2},
		"ShmBytes":            {MemoryBytes: 1, ShmBytes: 2},
		"Session.MemoryBytes": {MemoryBytes: 1, Session: SessionLimits{MemoryBytes: 2}},
		"Session.CPUWeight":   {Session: SessionLimits{CPUWeight: MaxCPUWeight + 1}},
		"Session.PIDs":        {PIDs: 1, Session: SessionLimits{PIDs: 2}},
		"Session.ShmBytes":    {Session: SessionLimits{MemoryBytes: 1, ShmBytes: 2}},
		"Session.VarTmpBytes": {Session: SessionLimits{VarTmpBytes: -2}},
		"Session.Inodes":      {Session: SessionLimits{Inodes: -2}},
		"Session.PTYs":        {Session: SessionLimits{PTYs: -2}},
		"Session.TmpBytes":    {Session: SessionLimits{TmpBytes: -2}},
		"PIDs":                {PIDs: -2},
	} {
		got := ""
		limits.Check(func(field, reason string) { got += field })
		if got != field {
			t.Errorf("the fault is of %q; want %q", got, field)
		}
	}
}

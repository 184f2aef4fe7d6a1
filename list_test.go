package berth_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-go/berth"
)

func (w *world) list(f berth.SessionFilter) (tasks []string) {
	w.t.Helper()
	for s, err := range w.ListSessions(w.t.Context(), f) {
		if err != nil {
			w.t.Fatal(err)
		}
		tasks = append(tasks, s.Info().TaskID)
	}
	slices.Sort(tasks)
	return tasks
}

func TestListSessionsFilters(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		r := asking("t1", repoA)
		r.Labels = map[string]string{"team": "red", "kind": "test"}
		if _, err := w.CreateSession(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		r = asking("t2", repoB)
		r.UserID, r.Labels = "runner", map[string]string{"team": "red"}
		if _, err := w.CreateSession(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		w.terminate(w.create("t3", repoA))
		ended := []berth.SessionState{berth.SessionEnded}
		for _, c := range []struct {
			filter berth.SessionFilter
			want   []string
		}{
			{berth.SessionFilter{}, []string{"t1", "t2"}},
			{berth.SessionFilter{TaskID: "t1"}, []string{"t1"}},
			{berth.SessionFilter{UserID: "runner"}, []string{"t2"}},
			{berth.SessionFilter{Repository: "git@github.com:Acme/Rocket"}, []string{"t1"}},
			{berth.SessionFilter{Repository: "github.com/acme/skates"}, []string{"t2"}},
			{berth.SessionFilter{Labels: map[string]string{"team": "red"}}, []string{"t1", "t2"}},
			{berth.SessionFilter{Labels: map[string]string{"team": "red", "kind": "test"}}, []string{"t1"}},
			{berth.SessionFilter{Labels: map[string]string{"team": "blue"}}, nil},
			{berth.SessionFilter{States: ended}, []string{"t3"}},
			{berth.SessionFilter{States: ended, TaskID: "t1"}, nil},
			{berth.SessionFilter{UserID: wile, Repository: repoB}, nil},
		} {
			if got := w.list(c.filter); !slices.Equal(got, c.want) {
				t.Errorf("%+v: %v, want %v", c.filter, got, c.want)
			}
		}
		for _, err := range w.ListSessions(t.Context(), berth.SessionFilter{Repository: "../etc"}) {
			field, ok := errors.AsType[*berth.FieldError](err)
			if !ok || field.Field != "SessionFilter.Repository" {
				t.Error(err)
			}
		}
	})
}

func TestListsGoBeyondOnePage(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxTasksPerInstance: 300}}, func(t *testing.T, w *world) {
		for i := range 250 {
			w.create(fmt.Sprintf("t%03d", i), fmt.Sprintf("https://github.com/acme/r%d", i%120))
		}
		tasks := w.list(berth.SessionFilter{})
		if n := len(slices.Compact(tasks)); n != 250 {
			t.Errorf("%d sessions of 250", n)
		}
		containers, held := 0, 0
		for r, err := range w.Repositories(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if r.State != "ready" || r.Container.Name == "" || r.Repository.IsZero() {
				t.Errorf("%+v", r)
			}
			containers++
			held += r.Tasks
		}
		if containers != 120 || held != 250 {
			t.Errorf("%d containers of 120, with %d tasks of 250", containers, held)
		}
		for in, err := range w.Instances(t.Context()) {
			if err != nil || in.Tasks != 250 || in.Slots != 300 || in.State != "ready" || in.Address == "" {
				t.Errorf("%+v, %v", in, err)
			}
		}
		first := 0
		for range w.ListSessions(t.Context(), berth.SessionFilter{}) {
			first++
			break // leaving early is allowed
		}
		if first != 1 {
			t.Error(first)
		}
	})
}

func TestEventsComeInOrderPerSession(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxTasksPerInstance: 2}}, func(t *testing.T, w *world) {
		a, b := w.create("a", repoA), w.create("b", repoA)
		c := w.creating(t.Context(), w.Provider, asking("c", repoA))
		time.Sleep(time.Minute)
		w.terminate(a)
		r := <-c
		if r.err != nil {
			t.Fatal(r.err)
		}
		w.terminate(b)
		w.terminate(r.s)
		of := make(map[string][]berth.EventType)
		for _, e := range w.seen() {
			if e.TaskID != "" {
				of[e.TaskID] = append(of[e.TaskID], e.Type)
			}
			if e.Time.IsZero() || e.Type == berth.EventSessionEnded && !errors.Is(e.Err, berth.ErrTerminated) {
				t.Errorf("%+v", e)
			}
		}
		queued := []berth.EventType{
			berth.EventSessionQueued, berth.EventSessionPlaced, berth.EventSessionActive, berth.EventSessionEnded,
		}
		for task, want := range map[string][]berth.EventType{"a": queued, "b": queued[1:], "c": queued} {
			if !slices.Equal(of[task], want) {
				t.Errorf("%s: %v", task, of[task])
			}
		}
		last := w.seen()[len(w.seen())-1]
		if last.Type != berth.EventContainerGone || last.Repository.Name() != "rocket" {
			t.Errorf("%+v", last)
		}
	})
}

func TestStatsAddUp(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{QueueTimeout: time.Minute, MaxTasksPerInstance: 2}}, func(t *testing.T, w *world) {
		a, b := w.create("a", repoA), w.create("b", repoA)
		if _, err := w.CreateSession(t.Context(), asking("c", repoA)); !errors.Is(err, berth.ErrNoCapacity) {
			t.Fatal(err)
		}
		w.terminate(a)
		w.terminate(b)
		w.create("d", repoA)
		got := w.Stats()
		if got.Cold != 1 || got.Attached != 1 || got.Warm != 1 || got.Failed != 1 || got.Ended != 3 || got.Errors != 0 ||
			got.Containers.Starts != 2 || got.Containers.Fetches != 2 || got.Pool.Launches != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// TestFilterThatCanSelectNothingIsRefused: a database would refuse it in words of its own.
func TestFilterThatCanSelectNothingIsRefused(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		for field, filter := range map[string]berth.SessionFilter{
			"TaskID": {TaskID: "a\x00b"}, "UserID": {UserID: "\xff"}, "Repository": {Repository: "no such thing"},
		} {
			for s, err := range w.ListSessions(t.Context(), filter) {
				if s != nil || !errors.Is(err, berth.ErrInvalid) || !fieldsOf(err)["SessionFilter."+field] {
					t.Errorf("%s: %v, %v", field, s, err)
				}
			}
		}
	})
}

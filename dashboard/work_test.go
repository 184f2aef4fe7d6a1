package dashboard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store"
)

// TestWorkThatIsNotSavedIsShown: an operator sees at the head of each page that work was lost, and finds the task and the reason. A task says
// where its work is, and with what it began.
func TestWorkThatIsNotSavedIsShown(t *testing.T) {
	fails := func(_ context.Context, s *berth.Session, _ berth.EndReason) error {
		if s.Info().TaskID == "lost" {
			return errors.New("the bucket <is> full")
		}
		return nil
	}
	s := open(t, berth.Config{OnEnd: fails, SaveWork: berth.SaveToSnapshots, Snapshots: fake.NewSnapshots(fake.SnapshotOptions{Latency: -1})}, dashboard.Options{})
	if body := s.get(""); strings.Contains(body, "could not be saved") {
		t.Error("the page tells of work that is lost")
	}
	kept := s.create("kept", "ann", repoA, func(r *berth.SessionRequest) { r.MaxLifetime = time.Hour })
	if err := kept.FS(t.Context()).WriteFile("note", []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.shows("tasks", kept.ID(), false)
	contains(t, "an active task", s.get("tasks/"+kept.ID()), "Began at", kept.Info().Commit, "Lives at most")
	info, err := kept.Snapshot(t.Context(), "monday")
	if err != nil {
		t.Fatal(err)
	}
	lost := s.create("lost", "bob", repoA)
	for _, one := range []*berth.Session{kept, lost} {
		if err := s.TerminateSession(t.Context(), one.ID()); err != nil {
			t.Fatal(err)
		}
	}
	s.shows("", "The work of 1 ended task could not be saved", false)
	list := s.get("tasks?state=unsaved")
	contains(t, "the tasks whose work is lost", list, "tasks/"+lost.ID(), "the bucket &lt;is&gt; full")
	if strings.Contains(list, "tasks/"+kept.ID()) {
		t.Error("a task whose work is saved is listed as unsaved")
	}
	contains(t, "a task whose work is lost", s.get("tasks/"+lost.ID()), "Its work was not saved", "Config.OnEnd: the bucket &lt;is&gt; full")
	contains(t, "a task whose work is saved", s.get("tasks/"+kept.ID()), "Work saved", "snapshot work/kept-")
	contains(t, "the events", s.get("events"), string(berth.EventWorkSaved), string(berth.EventSnapshot), "monday", "its work was not saved")
	contains(t, "the problems", s.get("events?type=problems"), "its work was not saved")
	again := s.create("again", "ann", repoA, func(r *berth.SessionRequest) { r.Restore = "kept" })
	from := s.create("from", "ann", repoA, func(r *berth.SessionRequest) { r.Snapshot = "monday" })
	s.shows("tasks?state=active", from.ID(), false)
	contains(t, "a task that began with saved work", s.get("tasks/"+again.ID()), "With the work of")
	contains(t, "a task that began with a snapshot", s.get("tasks/"+from.ID()), "From snapshot", info.ID)
	var data struct{ Saved, Unsaved, Snapshot, Restored string }
	if s.data("tasks/"+lost.ID(), &data); data.Unsaved == "" || data.Saved != "" {
		t.Errorf("%+v", data)
	}
	if s.data("tasks/"+again.ID(), &data); data.Restored != "kept" {
		t.Errorf("%+v", data)
	}
}

// TestAContainerThatIsKeptWarmSaysSo, as long as it is.
func TestAContainerThatIsKeptWarmSaysSo(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	s.create("one", "ann", repoA)
	record := func(until time.Time) *store.Container {
		for c, err := range store.Containers(t.Context(), s.store, store.ContainerQuery{}) {
			if err != nil {
				t.Fatal(err)
			}
			again := *c
			again.WarmUntil = until
			return &again
		}
		t.Fatal("there is no container")
		return nil
	}
	s.put(record(time.Now().Add(time.Hour)))
	s.shows("", "kept warm until", false)
	s.put(record(time.Now().Add(-time.Hour)))
	s.shows("", "kept warm until", true)
}

// TestATaskThatDoesNotStartIsShown: one whose container is up, so that neither the container nor a failure tells of it.
func TestATaskThatDoesNotStartIsShown(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	s.create("one", "ann", repoA)
	active, err := s.SessionByTask(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	record, err := store.Read[*store.Session](t.Context(), s.store, store.SessionKey(active.ID()))
	if err != nil {
		t.Fatal(err)
	}
	container, err := store.Read[*store.Container](t.Context(), s.store, store.ContainerKey(record.Container))
	if err != nil {
		t.Fatal(err)
	}
	c, hangs := *container, *record
	c.Since = time.Now().Add(-time.Hour)
	hangs.ID, hangs.TaskID, hangs.State, hangs.Took = "s-0hangs", "hangs", store.SessionCreating, 0
	hangs.CreatedAt = time.Now().Add(-time.Minute)
	s.put(&c, &hangs)
	s.shows("tasks", "hangs", false)
	if body := s.get(""); strings.Contains(body, "starting for up to") {
		t.Error("a task that has just come is a problem")
	}
	hangs.CreatedAt = time.Now().Add(-10 * time.Minute)
	again := hangs
	s.put(&again)
	s.shows("", "1 task on a container that is up, starting for up to 10 min", false)
}

package telemetry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/orchestrator"
)

// TestInstrumentsTellOfSnapshots: what is stored and read, how long it takes and what fails. What berth runs for itself in a session is none
// of its commands.
func TestInstrumentsTellOfSnapshots(t *testing.T) {
	store := fake.NewSnapshots(fake.SnapshotOptions{})
	setup := world.Setup{Config: berth.Config{Snapshots: store}}
	life(t, setup, func(t *testing.T, w *world.World, read func() map[string]*exported) {
		ctx := t.Context()
		s := w.Create("t1", world.RepoA)
		if err := s.FS(ctx).WriteFile("note", []byte("kept"), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := s.Snapshot(ctx, "monday")
		if err != nil {
			t.Fatal(err)
		}
		again := world.Request("t2", world.RepoA)
		again.Snapshot = "monday"
		world.Create(t, w.Provider, again)
		never := world.Request("t3", world.RepoA)
		never.Snapshot = "never"
		if _, err := w.CreateSession(ctx, never); !errors.Is(err, orchestrator.ErrNoSnapshot) {
			t.Fatal(err)
		}
		store.Fail(fake.PutSnapshot, 1, errors.New("the bucket is full"))
		if _, err := s.Snapshot(ctx, "tuesday"); !errors.Is(err, berth.ErrUnavailable) {
			t.Fatal(err)
		}
		if _, err := s.Changes(ctx); err != nil {
			t.Fatal(err)
		}
		all := read()
		const calls = "berth.snapshot.call.duration"
		want(t, all, calls, "berth.operation=put", 1)
		want(t, all, calls, "berth.operation=put,error.type=unavailable", 1)
		want(t, all, calls, "berth.operation=read", 2)                                     // one before the session has its place
		if n := all[calls].series["berth.operation=read,error.type=no_snapshot"]; n == 0 { // a prepared layer is asked for, too
			t.Errorf("a snapshot that is not there is not counted: %v", all[calls].series)
		}
		want(t, all, "berth.snapshot.io", "berth.operation=put", float64(info.Size))
		want(t, all, "berth.session.phase.duration", "berth.session.phase=restore", 1)
		want(t, all, "berth.session.start.duration", "error.type=no_snapshot", 1)
		for _, name := range []string{"berth.command.duration", "berth.command.io"} {
			if e := all[name]; e != nil {
				t.Errorf("%s has %v without a command", name, e.series)
			}
		}
	})
}

// TestInstrumentsTellOfWork: an operator sees that work could not be saved, from the first time on.
func TestInstrumentsTellOfWork(t *testing.T) {
	fails := func(_ context.Context, s *berth.Session, _ berth.EndReason) error {
		if s.Info().TaskID == "t1" {
			return errors.New("the bucket is full")
		}
		return nil
	}
	setup := world.Setup{Config: berth.Config{SaveWork: berth.SaveToSnapshots, Snapshots: fake.NewSnapshots(fake.SnapshotOptions{}), OnEnd: fails}}
	life(t, setup, func(t *testing.T, w *world.World, read func() map[string]*exported) {
		const work = "berth.session.work"
		want(t, read(), work, "berth.state=unsaved", 0)
		for _, task := range []string{"t1", "t2", "t3"} {
			s := w.Create(task, world.RepoA)
			if task != "t3" {
				if err := s.FS(t.Context()).WriteFile("note", []byte("kept"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w.Terminate(s)
		}
		world.After(time.Second)
		all := read()
		want(t, all, work, "berth.state=unsaved", 1)
		want(t, all, work, "berth.state=saved", 1)
		if s := w.Stats(); s.Unsaved != 1 || s.Saved != 1 {
			t.Errorf("%+v", s)
		}
	})
}

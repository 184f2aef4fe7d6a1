package berth_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/pool"
)

// repositories returns what Repositories lists, by its Scope.
func repositories(w *world.World) map[string]berth.RepositoryInfo {
	w.T.Helper()
	all := make(map[string]berth.RepositoryInfo)
	for r, err := range w.Repositories(w.T.Context()) {
		if err != nil {
			w.T.Fatal(err)
		}
		all[r.Scope] = r
	}
	return all
}

// onlyInstance returns the only instance that Instances lists.
func onlyInstance(w *world.World) (only berth.InstanceInfo) {
	w.T.Helper()
	n := 0
	for in, err := range w.Instances(w.T.Context()) {
		if err != nil {
			w.T.Fatal(err)
		}
		only = in
		n++
	}
	if n != 1 {
		w.T.Fatalf("%d instances", n)
	}
	return only
}

func TestInstanceInfoSaysWhereItIsAndWhy(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		machine := w.Cloud.Machines()[0]
		in := onlyInstance(w)
		ready := in.Since
		want := berth.InstanceInfo{
			ID: machine.LaunchID, CloudID: machine.CloudID, Address: machine.Address,
			State: "ready", Slots: 10, Tasks: 1, Since: ready, Isolation: berth.IsolationRooms, SharedCheckouts: true,
		}
		if in != want || machine.CloudID == "" || ready.IsZero() || ready.After(time.Now()) {
			t.Errorf("%+v, want %+v", in, want)
		}
		short := berth.InstanceInfo{ID: want.ID, CloudID: want.CloudID, Address: want.Address, Isolation: want.Isolation, SharedCheckouts: true}
		if got := s.Info().Instance; got != short {
			t.Errorf("the session's: %+v, want %+v", got, short)
		}
		w.Terminate(s)
		var states []string
		for range 20 * 60 { // until it was idle for too long
			in := w.InstanceRecords()
			if len(in) == 0 {
				break
			}
			if now := onlyInstance(w); now.State != "ready" {
				states = append(states, now.State)
				if now.Reason == "" || now.Tasks != 0 || !now.Since.After(ready) || now.CloudID != want.CloudID {
					t.Errorf("while it is retired: %+v", now)
				}
			}
			world.After(time.Second)
		}
		if len(states) == 0 || states[len(states)-1] != "terminating" {
			t.Errorf("its states were %q", slices.Compact(states))
		}
	})
}

func TestRepositoryInfoNamesTheScope(t *testing.T) {
	cfg := berth.Config{Sharing: berth.Sharing{User: true}}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		w.Create("t1", world.RepoA)
		w.Create("t2", world.RepoA)
		r := world.Request("t3", world.RepoA)
		r.UserID = world.OtherUser
		s := world.Create(t, w.Provider, r)
		got := repositories(w)
		if len(got) != 2 || got["user="+world.User].Tasks != 2 {
			t.Errorf("%+v", got)
		}
		want := berth.RepositoryInfo{
			Repository: s.Info().Repository, Scope: "user=" + world.OtherUser, Container: s.Info().Container, State: "ready",
			Instance: s.Info().Instance.ID, Tasks: 1,
		}
		if got["user="+world.OtherUser] != want {
			t.Errorf("%+v, want %+v", got["user="+world.OtherUser], want)
		}
	})
}

// TestRepositoryInfoOfEachState sees a container start, serve, get lost with its instance, and stop.
func TestRepositoryInfoOfEachState(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		is := func(state string, tasks int) {
			t.Helper()
			got := repositories(w)[""]
			if got.State != state || got.Tasks != tasks || got.Repository.Name() != "rocket" || got.Container.Name == "" {
				t.Errorf("%+v, want state %s and %d tasks", got, state, tasks)
			}
		}
		w.Engine.Next(fake.Ensure, 1, fake.Fault{Delay: 20 * time.Second})
		c := world.Creating(t.Context(), w.Provider, world.Request("t1", world.RepoA))
		time.Sleep(20 * time.Second)
		w.Pending(c, "its container starts")
		is("starting", 1)
		s := (<-c).Session
		is("ready", 1)
		w.Engine.Next(fake.Remove, 1, fake.Fault{Delay: 20 * time.Second})
		go w.TerminateSession(t.Context(), s.ID())
		world.After(10 * time.Second)
		is("stopping", 0)

		s = w.Create("t2", world.RepoA)
		w.Engine.Next(fake.CloseSession, 1, fake.Fault{Delay: 90 * time.Second, Deaf: true}) // it is being ended meanwhile
		go w.TerminateSession(t.Context(), s.ID())
		time.Sleep(time.Second)
		w.Cloud.Vanish(s.Info().Instance.ID)
		world.After(70 * time.Second)
		if in := onlyInstance(w); in.State != "lost" || in.Reason == "" {
			t.Errorf("%+v", in)
		}
		is("lost", 1)
		world.After(time.Minute)
		if left := repositories(w); len(left) != 0 {
			t.Errorf("%+v", left)
		}
		synctest.Wait()
		w.Empty()
	})
}

func list(w *world.World, f berth.SessionFilter) (tasks []string) {
	w.T.Helper()
	for s, err := range w.ListSessions(w.T.Context(), f) {
		if err != nil {
			w.T.Fatal(err)
		}
		tasks = append(tasks, s.Info().TaskID)
	}
	slices.Sort(tasks)
	return tasks
}

func TestListSessionsFilters(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		r := world.Request("t1", world.RepoA)
		r.Labels = map[string]string{"team": "red", "kind": "test"}
		world.Create(t, w.Provider, r)
		r = world.Request("t2", world.RepoB)
		r.UserID, r.Labels = "runner", map[string]string{"team": "red"}
		world.Create(t, w.Provider, r)
		w.Terminate(w.Create("t3", world.RepoA))
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
			{berth.SessionFilter{UserID: world.User, Repository: world.RepoB}, nil},
		} {
			if got := list(w, c.filter); !slices.Equal(got, c.want) {
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
	world.Run(t, world.Setup{Config: berth.Config{MaxTasksPerInstance: 300}}, func(t *testing.T, w *world.World) {
		for i := range 250 {
			w.Create(fmt.Sprintf("t%03d", i), fmt.Sprintf("https://github.com/acme/r%d", i%120))
		}
		tasks := list(w, berth.SessionFilter{})
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
			break // a loop may end early
		}
		if first != 1 {
			t.Error(first)
		}
	})
}

func TestEventsComeInOrderPerSession(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxTasksPerInstance: 2}}, func(t *testing.T, w *world.World) {
		a, b := w.Create("a", world.RepoA), w.Create("b", world.RepoA)
		c := world.Creating(t.Context(), w.Provider, world.Request("c", world.RepoA))
		time.Sleep(time.Minute)
		w.Terminate(a)
		r := <-c
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		w.Terminate(b)
		w.Terminate(r.Session)
		of := make(map[string][]berth.EventType)
		for _, e := range w.Events() {
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
		last := w.Events()[len(w.Events())-1]
		if last.Type != berth.EventContainerGone || last.Repository.Name() != "rocket" {
			t.Errorf("%+v", last)
		}
	})
}

func TestStatsAddUp(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{QueueTimeout: time.Minute, MaxTasksPerInstance: 2}}, func(t *testing.T, w *world.World) {
		a, b := w.Create("a", world.RepoA), w.Create("b", world.RepoA)
		if _, err := w.CreateSession(t.Context(), world.Request("c", world.RepoA)); !errors.Is(err, berth.ErrNoCapacity) {
			t.Fatal(err)
		}
		w.Terminate(a)
		w.Terminate(b)
		w.Create("d", world.RepoA)
		got := w.Stats()
		if got.Cold != 1 || got.Attached != 1 || got.Warm != 1 || got.Failed != 1 || got.Ended != 3 || got.Errors != 0 ||
			got.Containers.Starts != 2 || got.Containers.Fetches != 2 || got.Pool.Launches != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// TestFilterThatCanSelectNothingIsRefused: without a check, the database would refuse it with an error of its own.
func TestFilterThatCanSelectNothingIsRefused(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
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

func TestConsoleShowsWhyEachWaits(t *testing.T) {
	setup := world.Setup{Config: berth.Config{MaxTasksPerInstance: 2, MaxInstances: 1, UserLimits: berth.UserLimits{Sessions: 1}}}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		var heard []berth.EventType
		stop := w.Console().Events(func(e berth.Event) { heard = append(heard, e.Type) })
		for i, r := range []struct{ user, repository string }{
			{"ann", world.RepoA}, {"bob", world.RepoA}, {"cid", world.RepoA}, {"dan", world.RepoB}, {"cid", world.RepoB},
		} {
			go func() {
				req := berth.SessionRequest{TaskID: fmt.Sprint("t", i), UserID: r.user, Repository: r.repository}
				_, _ = w.CreateSession(t.Context(), req) // three wait until the test ends
			}()
			time.Sleep(time.Minute)
		}
		waiting, err := w.Console().Waiting(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []berth.Waiting
		for _, one := range waiting {
			s, err := w.GetSession(t.Context(), one.SessionID)
			if err != nil {
				t.Fatal(err)
			}
			one.SessionID = s.Info().TaskID
			got = append(got, one)
		}
		// RepoA has a container, on an instance that is full. RepoB may have one. cid may have one session, and waits for one.
		want := []berth.Waiting{{SessionID: "t2", Bound: true}, {SessionID: "t3"}, {SessionID: "t4", UserLimit: 1}}
		if !slices.Equal(got, want) {
			t.Errorf("Waiting returns %+v, want %+v", got, want)
		}
		stop()
		if n := len(heard); n == 0 || !slices.Contains(heard, berth.EventSessionQueued) || !slices.Contains(heard, berth.EventSessionActive) {
			t.Errorf("Events tells of %v", heard)
		}
	})
}

func TestConsoleCordons(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Create("t", world.RepoA)
		id := onlyInstance(w).ID
		if err := w.Console().Cordon(t.Context(), id, "a\x1b[31mlook"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // the planner changes the state
		if in := onlyInstance(w); in.State != "cordoned" || in.Reason != `a\x1b[31mlook` {
			t.Errorf("%+v", in)
		}
		if err := w.Console().Uncordon(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if in := onlyInstance(w); in.State != "ready" {
			t.Errorf("%+v", in)
		}
		if err := w.Console().Drain(t.Context(), "l-none", ""); !errors.Is(err, pool.ErrState) {
			t.Errorf("Drain of an unknown instance: %v", err)
		}
	})
}

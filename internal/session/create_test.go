package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
)

func TestOneContainerPerRepositoryWhateverItsSpelling(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		first := w.Create("t1", world.RepoA)
		second := w.Create("t2", "git@github.com:Acme/Rocket.git")
		other := w.Create("t3", world.RepoB)
		a, b, c := first.Info(), second.Info(), other.Info()
		if a.Start != berth.StartCold || b.Start != berth.StartAttached || c.Start != berth.StartCold {
			t.Errorf("starts: %s, %s, %s", a.Start, b.Start, c.Start)
		}
		if a.Container != b.Container || a.Container == c.Container || a.Repository != b.Repository {
			t.Errorf("containers: %v, %v, %v", a.Container, b.Container, c.Container)
		}
		if a.Workdir == b.Workdir || a.Workdir == "" || a.Branch != "main" || a.State != berth.SessionActive {
			t.Errorf("sessions: %+v, %+v", a, b)
		}
		if n := w.Engine.Starts(a.Container.Name); n != 1 || w.Engine.Fetches(a.Container.Name) != 1 {
			t.Errorf("%d starts, %d fetches", n, w.Engine.Fetches(a.Container.Name))
		}
		w.Terminate(first)
		if len(w.ContainerRecords()) != 2 {
			t.Error("the container was removed before its last session ended")
		}
		w.Terminate(second)
		w.Terminate(other)
		w.Empty()
		if again := w.Create("t1", world.RepoA).Info(); again.Start != berth.StartWarm || again.ID == a.ID {
			t.Errorf("the next start on the instance that has the mirror: %+v", again)
		}
	})
}

func TestCreateIsIdempotent(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		again := w.Create("t", "ssh://git@github.com/acme/rocket")
		if again.ID() != s.ID() {
			t.Errorf("%s, then %s", s.ID(), again.ID())
		}
		for _, change := range []func(r *berth.SessionRequest){
			func(r *berth.SessionRequest) { r.UserID = "other" },
			func(r *berth.SessionRequest) { r.Repository = world.RepoB },
			func(r *berth.SessionRequest) { r.Branch = "main" },
		} {
			r := world.Request("t", world.RepoA)
			change(&r)
			if _, err := w.CreateSession(t.Context(), r); !errors.Is(err, berth.ErrTaskConflict) {
				t.Errorf("%+v: %v, want ErrTaskConflict", r, err)
			}
		}
		if n := len(w.OpenSessions()); n != 1 {
			t.Errorf("%d sessions", n)
		}
		w.Terminate(s)
		r := world.Request("t", world.RepoB)
		r.UserID = "other"
		if _, err := w.CreateSession(t.Context(), r); err != nil {
			t.Errorf("the task ID is free again: %v", err)
		}
	})
}

func TestRacingCreatesOfOneTaskGiveOneSession(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		var racing []<-chan world.Result
		for i := range 8 {
			p := w.Provider
			if i%2 == 1 {
				p = other
			}
			racing = append(racing, world.Creating(t.Context(), p, world.Request("t", world.RepoA)))
		}
		ids := make(map[string]bool)
		for _, c := range racing {
			r := <-c
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			ids[r.Session.ID()] = true
		}
		if len(ids) != 1 || len(w.OpenSessions()) != 1 {
			t.Errorf("sessions %v; stored: %d", ids, len(w.OpenSessions()))
		}
	})
}

func TestOneStartAndOneFetchForAnyNumberOfCreators(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxTasksPerInstance: 100}}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		var racing []<-chan world.Result
		for i := range 100 {
			p := w.Provider
			if i%3 == 0 {
				p = other
			}
			racing = append(racing, world.Creating(t.Context(), p, world.Request(fmt.Sprint("t", i), world.RepoA)))
		}
		for _, c := range racing {
			if r := <-c; r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		name := w.ContainerRecords()[0].Name
		if w.Engine.Starts(name) != 1 || w.Engine.Fetches(name) != 1 || len(w.ContainerRecords()) != 1 {
			t.Errorf("%d starts, %d fetches, %d containers", w.Engine.Starts(name), w.Engine.Fetches(name), len(w.ContainerRecords()))
		}
	})
}

// TestCallerWhoGivesUpLeavesNothing ends the caller's context in each phase of a creation. When CreateSession returns,
// nothing of the session is left, and its slot is free.
func TestCallerWhoGivesUpLeavesNothing(t *testing.T) {
	for _, phase := range []struct {
		name    string
		prepare func(w *world.World)
	}{
		{"queued", func(w *world.World) { w.Cloud.SetCapacity(0) }},
		{"starting", func(w *world.World) { w.Engine.Hang(fake.Ensure) }},
		{"attaching", func(w *world.World) { w.Engine.Hang(fake.Attach) }},
		{"fetching", func(w *world.World) { w.Engine.HangRemote(world.RepoA, true) }},
		{"checkout", func(w *world.World) { w.Engine.Hang(fake.Open) }},
		{"checkout was made", func(w *world.World) { w.Engine.Next(fake.Open, 1, fake.Fault{HangAfter: true}) }},
	} {
		t.Run(phase.name, func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				phase.prepare(w)
				ctx, cancel := context.WithCancelCause(t.Context())
				c := world.Creating(ctx, w.Provider, world.Request("t", world.RepoA))
				time.Sleep(time.Minute)
				w.Pending(c, "it hangs")
				gaveUp := errors.New("gave up")
				cancel(gaveUp)
				r := <-c
				if !errors.Is(r.Err, gaveUp) {
					t.Errorf("%v, want the context's cause", r.Err)
				}
				w.Empty()
				w.Cloud.Heal()
				w.Engine.Heal()
				w.Create("t", world.RepoA)
			})
		})
	}
}

func TestOneWhoGivesUpDoesNotHurtThoseWhoWaitForTheSameStart(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		ctx, cancel := context.WithCancel(t.Context())
		w.Engine.HangRemote(world.RepoA, true)
		first := world.Creating(ctx, w.Provider, world.Request("t1", world.RepoA))
		time.Sleep(20 * time.Second)
		second := world.Creating(t.Context(), w.Provider, world.Request("t2", world.RepoA))
		time.Sleep(20 * time.Second)
		cancel()
		if r := <-first; !errors.Is(r.Err, context.Canceled) {
			t.Error(r.Err)
		}
		w.Pending(second, "the remote hangs")
		w.Engine.HangRemote(world.RepoA, false)
		if r := <-second; r.Err != nil {
			t.Error(r.Err)
		}
	})
}

func TestStartErrorHoldsThePhaseAndTheMessage(t *testing.T) {
	const url = "https://wile:" + world.Secret + "@github.com/acme/rocket"
	for _, c := range []struct {
		phase, message string
		setup          world.Setup
		prepare        func(w *world.World)
		branch         string
		is             error
	}{
		{phase: "fetching", message: "Repository not found", setup: world.Setup{Engine: fake.EngineOptions{
			Repositories: map[string]fake.Repo{world.RepoA: {Missing: true}},
		}}},
		{phase: "fetching", message: "Authentication failed", setup: world.Setup{Engine: fake.EngineOptions{
			Repositories: map[string]fake.Repo{world.RepoA: {Password: "another"}},
		}}},
		{phase: "checkout", message: "nowhere", branch: "nowhere", is: agent.ErrBranchNotFound},
		{phase: "starting", message: "workspace:1", setup: world.Setup{
			Config: berth.Config{Image: "workspace:1"}, Engine: fake.EngineOptions{Images: []string{"other"}},
		}},
		{phase: "starting", message: "boom", prepare: func(w *world.World) { w.Engine.Fail(fake.Ensure, 10, errors.New("boom")) }},
		{phase: "checkout", message: "boom", prepare: func(w *world.World) { w.Engine.Fail(fake.Open, 1, errors.New("boom")) }},
	} {
		t.Run(c.phase+" "+c.message, func(t *testing.T) {
			world.Run(t, c.setup, func(t *testing.T, w *world.World) {
				if c.prepare != nil {
					c.prepare(w)
				}
				r := world.Request("t", url)
				r.Branch = c.branch
				_, err := w.CreateSession(t.Context(), r)
				failure, ok := errors.AsType[*berth.StartError](err)
				if !ok || failure.Phase != c.phase || !strings.Contains(err.Error(), c.message) ||
					failure.TaskID != "t" || failure.Repository.String() != "github.com/acme/rocket" {
					t.Errorf("%v; want phase %s and %q", err, c.phase, c.message)
				}
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("%v is no %v", err, c.is)
				}
				w.NoSecret(err)
				w.Empty()
			})
		})
	}
}

func TestFullDiskIsAStartError(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
		time.Sleep(time.Minute)
		w.Engine.DiskFull(w.InstanceRecords()[0].ID, true)
		_, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA))
		failure, ok := errors.AsType[*berth.StartError](err)
		if !ok || failure.Phase != "fetching" || !strings.Contains(err.Error(), "No space left") {
			t.Error(err)
		}
		w.Empty()
		w.Engine.DiskFull(w.InstanceRecords()[0].ID, false)
		w.Create("t", world.RepoA)
	})
}

// TestFailedFetchDoesNotHurtTheNextTask: the tasks that wait for a start fail with it. Later ones do not.
func TestFailedFetchDoesNotHurtTheNextTask(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Engine.Refuse(world.RepoA, &agent.GitError{Op: "clone", Message: "fatal: early EOF"})
		first := world.Creating(t.Context(), w.Provider, world.Request("t1", world.RepoA))
		second := world.Creating(t.Context(), w.Provider, world.Request("t2", world.RepoA))
		for _, c := range []<-chan world.Result{first, second} {
			if r := <-c; r.Err == nil || !strings.Contains(r.Err.Error(), "early EOF") {
				t.Error(r.Err)
			}
		}
		w.Engine.Refuse(world.RepoA, nil)
		w.Create("t1", world.RepoA)
		w.Engine.Refuse(world.RepoA, &agent.GitError{Op: "fetch", Message: "fatal: early EOF"})
		if _, err := w.CreateSession(t.Context(), world.Request("t3", world.RepoA)); err != nil {
			t.Errorf("the mirror is young enough: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := w.CreateSession(t.Context(), world.Request("t4", world.RepoA)); err == nil {
			t.Error("attached to a mirror that is too old")
		}
		if n := len(w.OpenSessions()); n != 2 {
			t.Errorf("%d sessions are left of 2", n)
		}
	})
}

func TestTransientEngineFailureIsTriedAgain(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Engine.Fail(fake.Ensure, 1, errors.New("EOF"))
		w.Engine.LoseReplies(fake.Ensure, 1)
		s := w.Create("t", world.RepoA)
		if n := w.Engine.Starts(s.Info().Container.Name); n != 1 {
			t.Errorf("%d starts", n)
		}
	})
}

// TestContainerThatDiesWhileASessionComesIsReplaced: the session is not in the container yet, so it gets another one.
func TestContainerThatDiesWhileASessionComesIsReplaced(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		first := w.Create("t1", world.RepoA)
		w.Engine.Next(fake.Open, 1, fake.Fault{Delay: 10 * time.Second})
		c := world.Creating(t.Context(), w.Provider, world.Request("t2", world.RepoA))
		time.Sleep(time.Second)
		w.Engine.KillContainer(first.Info().Container.Name)
		r := <-c
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if r.Session.Info().Container.ID == first.Info().Container.ID {
			t.Error("it is in the dead container")
		}
		<-first.Done()
		if !errors.Is(first.Err(), berth.ErrContainerLost) {
			t.Error(first.Err())
		}
	})
}

func TestSharingSeparates(t *testing.T) {
	cfg := berth.Config{Sharing: berth.Sharing{User: true}}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		a := w.Create("t1", world.RepoA).Info()
		r := world.Request("t2", world.RepoA)
		r.UserID = "other"
		s := world.Create(t, w.Provider, r)
		if b := s.Info(); a.Container.Name == b.Container.Name || b.Start != berth.StartCold {
			t.Errorf("%+v and %+v share", a.Container, b.Container)
		}
		if same := w.Create("t3", world.RepoA).Info(); same.Container != a.Container {
			t.Errorf("%+v and %+v do not share", a.Container, same.Container)
		}
	})
}

func TestEnvReachesOnlyTheSessionsOwnCommands(t *testing.T) {
	run := func(ctx context.Context, cmd fake.Command) int {
		fmt.Fprint(cmd.Stdout, cmd.Env["TOKEN"])
		return 0
	}
	world.Run(t, world.Setup{Engine: fake.EngineOptions{Run: run}}, func(t *testing.T, w *world.World) {
		r := world.Request("t1", world.RepoA)
		r.Env = map[string]string{"TOKEN": world.Secret}
		with := world.Create(t, w.Provider, r)
		without := w.Create("t2", world.RepoA)
		if out, err := with.Command(t.Context(), "env").Output(); string(out) != world.Secret {
			t.Errorf("%q, %v", out, err)
		}
		if out, err := without.Command(t.Context(), "env").Output(); string(out) != "" {
			t.Errorf("%q, %v", out, err)
		}
		w.NoSecret()
	})
}

func TestImageForOneRepository(t *testing.T) {
	cfg := berth.Config{Image: "usual", ImageFor: func(r naming.Repository) string {
		if r.Name() == "rocket" {
			return "special"
		}
		return ""
	}}
	world.Run(t, world.Setup{Config: cfg, Engine: fake.EngineOptions{Images: []string{"special"}}}, func(t *testing.T, w *world.World) {
		w.Create("t1", world.RepoA)
		if _, err := w.CreateSession(t.Context(), world.Request("t2", world.RepoB)); err == nil || !strings.Contains(err.Error(), "usual") {
			t.Errorf("%v, want an error that names the image", err)
		}
	})
}

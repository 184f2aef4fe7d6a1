package berth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
)

func TestOneContainerPerRepositoryWhateverItsSpelling(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		first := w.create("t1", repoA)
		second := w.create("t2", "git@github.com:Acme/Rocket.git")
		other := w.create("t3", repoB)
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
		if n := w.engine.Starts(a.Container.Name); n != 1 || w.engine.Fetches(a.Container.Name) != 1 {
			t.Errorf("%d starts, %d fetches", n, w.engine.Fetches(a.Container.Name))
		}
		w.terminate(first)
		if len(w.containers()) != 2 {
			t.Error("the container went before its last session")
		}
		w.terminate(second)
		w.terminate(other)
		w.empty()
		if again := w.create("t1", repoA).Info(); again.Start != berth.StartWarm || again.ID == a.ID {
			t.Errorf("the next start on the instance that has the mirror: %+v", again)
		}
	})
}

func TestCreateIsIdempotent(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		again := w.create("t", "ssh://git@github.com/acme/rocket")
		if again.ID() != s.ID() {
			t.Errorf("%s, then %s", s.ID(), again.ID())
		}
		for _, change := range []func(r *berth.SessionRequest){
			func(r *berth.SessionRequest) { r.UserID = "other" },
			func(r *berth.SessionRequest) { r.Repository = repoB },
			func(r *berth.SessionRequest) { r.Branch = "main" },
		} {
			r := asking("t", repoA)
			change(&r)
			if _, err := w.CreateSession(t.Context(), r); !errors.Is(err, berth.ErrTaskConflict) {
				t.Errorf("%+v: %v, want ErrTaskConflict", r, err)
			}
		}
		if n := len(w.alive()); n != 1 {
			t.Errorf("%d sessions", n)
		}
		w.terminate(s)
		r := asking("t", repoB)
		r.UserID = "other"
		if _, err := w.CreateSession(t.Context(), r); err != nil {
			t.Errorf("the task ID is free again: %v", err)
		}
	})
}

func TestRacingCreatesOfOneTaskGiveOneSession(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		other := w.provider()
		var racing []<-chan result
		for i := range 8 {
			p := w.Provider
			if i%2 == 1 {
				p = other
			}
			racing = append(racing, w.creating(t.Context(), p, asking("t", repoA)))
		}
		ids := make(map[string]bool)
		for _, c := range racing {
			r := <-c
			if r.err != nil {
				t.Fatal(r.err)
			}
			ids[r.s.ID()] = true
		}
		if len(ids) != 1 || len(w.alive()) != 1 {
			t.Errorf("sessions %v; stored: %d", ids, len(w.alive()))
		}
	})
}

func TestOneStartAndOneFetchForAnyNumberOfCreators(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxTasksPerInstance: 100}}, func(t *testing.T, w *world) {
		other := w.provider()
		var racing []<-chan result
		for i := range 100 {
			p := w.Provider
			if i%3 == 0 {
				p = other
			}
			racing = append(racing, w.creating(t.Context(), p, asking(fmt.Sprint("t", i), repoA)))
		}
		for _, c := range racing {
			if r := <-c; r.err != nil {
				t.Fatal(r.err)
			}
		}
		name := w.containers()[0].Name
		if w.engine.Starts(name) != 1 || w.engine.Fetches(name) != 1 || len(w.containers()) != 1 {
			t.Errorf("%d starts, %d fetches, %d containers", w.engine.Starts(name), w.engine.Fetches(name), len(w.containers()))
		}
	})
}

// TestCallerWhoGivesUpLeavesNothing ends the caller's context in each phase of a creation. When CreateSession returns,
// nothing of it is left, and its slot is free.
func TestCallerWhoGivesUpLeavesNothing(t *testing.T) {
	for _, phase := range []struct {
		name    string
		prepare func(w *world)
	}{
		{"queued", func(w *world) { w.cloud.SetCapacity(0) }},
		{"starting", func(w *world) { w.engine.Hang(fake.Ensure) }},
		{"attaching", func(w *world) { w.engine.Hang(fake.Attach) }},
		{"fetching", func(w *world) { w.engine.HangRemote(repoA, true) }},
		{"checkout", func(w *world) { w.engine.Hang(fake.Open) }},
		{"checkout was made", func(w *world) { w.engine.Next(fake.Open, 1, fake.Fault{HangAfter: true}) }},
	} {
		t.Run(phase.name, func(t *testing.T) {
			inWorld(t, setup{}, func(t *testing.T, w *world) {
				phase.prepare(w)
				ctx, cancel := context.WithCancelCause(t.Context())
				c := w.creating(ctx, w.Provider, asking("t", repoA))
				time.Sleep(time.Minute)
				w.pending(c, "it hangs")
				gaveUp := errors.New("gave up")
				cancel(gaveUp)
				r := <-c
				if !errors.Is(r.err, gaveUp) {
					t.Errorf("%v, want the context's cause", r.err)
				}
				w.empty()
				w.cloud.Heal()
				w.engine.Heal()
				w.create("t", repoA)
			})
		})
	}
}

func TestOneWhoGivesUpDoesNotHurtThoseWhoWaitForTheSameStart(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		w.engine.HangRemote(repoA, true)
		first := w.creating(ctx, w.Provider, asking("t1", repoA))
		time.Sleep(20 * time.Second)
		second := w.creating(t.Context(), w.Provider, asking("t2", repoA))
		time.Sleep(20 * time.Second)
		cancel()
		if r := <-first; !errors.Is(r.err, context.Canceled) {
			t.Error(r.err)
		}
		w.pending(second, "the remote hangs")
		w.engine.HangRemote(repoA, false)
		if r := <-second; r.err != nil {
			t.Error(r.err)
		}
	})
}

func TestStartErrorHoldsThePhaseAndTheMessage(t *testing.T) {
	const url = "https://wile:" + secret + "@github.com/acme/rocket"
	for _, c := range []struct {
		phase, message string
		setup          setup
		prepare        func(w *world)
		branch         string
		is             error
	}{
		{phase: "fetching", message: "Repository not found", setup: setup{Engine: fake.EngineOptions{
			Repositories: map[string]fake.Repo{repoA: {Missing: true}},
		}}},
		{phase: "fetching", message: "Authentication failed", setup: setup{Engine: fake.EngineOptions{
			Repositories: map[string]fake.Repo{repoA: {Password: "another"}},
		}}},
		{phase: "checkout", message: "nowhere", branch: "nowhere", is: agent.ErrBranchNotFound},
		{phase: "starting", message: "workspace:1", setup: setup{
			Config: berth.Config{Image: "workspace:1"}, Engine: fake.EngineOptions{Images: []string{"other"}},
		}},
		{phase: "starting", message: "boom", prepare: func(w *world) { w.engine.Fail(fake.Ensure, 10, errors.New("boom")) }},
		{phase: "checkout", message: "boom", prepare: func(w *world) { w.engine.Fail(fake.Open, 1, errors.New("boom")) }},
	} {
		t.Run(c.phase+" "+c.message, func(t *testing.T) {
			inWorld(t, c.setup, func(t *testing.T, w *world) {
				if c.prepare != nil {
					c.prepare(w)
				}
				r := asking("t", url)
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
				w.noSecret(err)
				w.empty()
			})
		})
	}
}

func TestFullDiskIsAStartError(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world) {
		time.Sleep(time.Minute)
		w.engine.DiskFull(w.instances()[0].ID, true)
		_, err := w.CreateSession(t.Context(), asking("t", repoA))
		failure, ok := errors.AsType[*berth.StartError](err)
		if !ok || failure.Phase != "fetching" || !strings.Contains(err.Error(), "No space left") {
			t.Error(err)
		}
		w.empty()
		w.engine.DiskFull(w.instances()[0].ID, false)
		w.create("t", repoA)
	})
}

// TestFailedFetchDoesNotHurtTheNextTask: those who waited for a start fail with it, whoever comes later does not.
func TestFailedFetchDoesNotHurtTheNextTask(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.engine.Refuse(repoA, &agent.GitError{Op: "clone", Message: "fatal: early EOF"})
		first := w.creating(t.Context(), w.Provider, asking("t1", repoA))
		second := w.creating(t.Context(), w.Provider, asking("t2", repoA))
		for _, c := range []<-chan result{first, second} {
			if r := <-c; r.err == nil || !strings.Contains(r.err.Error(), "early EOF") {
				t.Error(r.err)
			}
		}
		w.engine.Refuse(repoA, nil)
		w.create("t1", repoA)
		w.engine.Refuse(repoA, &agent.GitError{Op: "fetch", Message: "fatal: early EOF"})
		if _, err := w.CreateSession(t.Context(), asking("t3", repoA)); err != nil {
			t.Errorf("the mirror is young enough: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := w.CreateSession(t.Context(), asking("t4", repoA)); err == nil {
			t.Error("attached to a mirror that is too old")
		}
		if n := len(w.alive()); n != 2 {
			t.Errorf("%d sessions are left of 2", n)
		}
	})
}

func TestTransientEngineFailureIsTriedAgain(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.engine.Fail(fake.Ensure, 1, errors.New("EOF"))
		w.engine.LoseReplies(fake.Ensure, 1)
		s := w.create("t", repoA)
		if n := w.engine.Starts(s.Info().Container.Name); n != 1 {
			t.Errorf("%d starts", n)
		}
	})
}

// TestContainerThatDiesWhileASessionComesIsReplaced: the session was not in it yet, so it gets another one.
func TestContainerThatDiesWhileASessionComesIsReplaced(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		first := w.create("t1", repoA)
		w.engine.Next(fake.Open, 1, fake.Fault{Delay: 10 * time.Second})
		c := w.creating(t.Context(), w.Provider, asking("t2", repoA))
		time.Sleep(time.Second)
		w.engine.KillContainer(first.Info().Container.Name)
		r := <-c
		if r.err != nil {
			t.Fatal(r.err)
		}
		if r.s.Info().Container.ID == first.Info().Container.ID {
			t.Error("it is in the dead container")
		}
		<-first.Done()
		if !errors.Is(first.Err(), berth.ErrContainerLost) {
			t.Error(first.Err())
		}
	})
}

func TestScopeForSeparates(t *testing.T) {
	cfg := berth.Config{ScopeFor: func(r berth.SessionRequest) string { return r.UserID }}
	inWorld(t, setup{Config: cfg}, func(t *testing.T, w *world) {
		a := w.create("t1", repoA).Info()
		r := asking("t2", repoA)
		r.UserID = "other"
		s, err := w.CreateSession(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if b := s.Info(); a.Container.Name == b.Container.Name || b.Start != berth.StartCold {
			t.Errorf("%+v and %+v share", a.Container, b.Container)
		}
		if same := w.create("t3", repoA).Info(); same.Container != a.Container {
			t.Errorf("%+v and %+v do not share", a.Container, same.Container)
		}
	})
}

func TestEnvReachesOnlyTheSessionsOwnCommands(t *testing.T) {
	run := func(ctx context.Context, cmd fake.Command) int {
		fmt.Fprint(cmd.Stdout, cmd.Env["TOKEN"])
		return 0
	}
	inWorld(t, setup{Engine: fake.EngineOptions{Run: run}}, func(t *testing.T, w *world) {
		r := asking("t1", repoA)
		r.Env = map[string]string{"TOKEN": secret}
		with, err := w.CreateSession(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		without := w.create("t2", repoA)
		if out, err := with.Command(t.Context(), "env").Output(); string(out) != secret {
			t.Errorf("%q, %v", out, err)
		}
		if out, err := without.Command(t.Context(), "env").Output(); string(out) != "" {
			t.Errorf("%q, %v", out, err)
		}
		w.noSecret()
	})
}

func TestImageForOneRepository(t *testing.T) {
	cfg := berth.Config{Image: "usual", ImageFor: func(r naming.Repository) string {
		if r.Name() == "rocket" {
			return "special"
		}
		return ""
	}}
	inWorld(t, setup{Config: cfg, Engine: fake.EngineOptions{Images: []string{"special"}}}, func(t *testing.T, w *world) {
		w.create("t1", repoA)
		if _, err := w.CreateSession(t.Context(), asking("t2", repoB)); err == nil || !strings.Contains(err.Error(), "usual") {
			t.Errorf("%v, want an error that names the image", err)
		}
	})
}

func TestCreateAfterCloseIsErrClosed(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.cloud.SetCapacity(0)
		c := w.creating(t.Context(), w.Provider, asking("t", repoA))
		same := w.creating(t.Context(), w.Provider, asking("t", repoA))
		time.Sleep(time.Minute)
		synctest.Wait()
		begun := time.Now()
		w.Close()
		for _, c := range []<-chan result{c, same} {
			if r := <-c; !errors.Is(r.err, berth.ErrClosed) {
				t.Error(r.err)
			}
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("Close took %v", took)
		}
		if _, err := w.CreateSession(t.Context(), asking("t", repoA)); !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
		w.empty()
	})
}

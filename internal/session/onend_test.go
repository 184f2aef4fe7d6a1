package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/work"
)

// ends notes the calls of Config.OnEnd.
type ends struct {
	mu  sync.Mutex // protects all
	all []berth.EndReason
}

func (e *ends) note(why berth.EndReason) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, why)
	return len(e.all)
}

func (e *ends) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprint(e.all)
}

// keepFile writes a file of a session.
func keepFile(t *testing.T, s *berth.Session, name, content string) {
	t.Helper()
	if err := s.FS(t.Context()).WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestOnEnd: the host's function can use the session, at each end that leaves time, and other handles cannot.
func TestOnEnd(t *testing.T) {
	var called ends
	var patch string
	inside := func(ctx context.Context, s *berth.Session, why berth.EndReason) error {
		called.note(why)
		if err := s.Command(ctx, "make").Run(); err != nil {
			return err
		}
		if b, err := s.FS(ctx).ReadFile("a.txt"); err != nil || string(b) != "work" {
			return fmt.Errorf("%q: %w", b, err)
		}
		r, err := s.Patch(ctx)
		if err != nil {
			return err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		patch = string(b)
		return err
	}
	for name, c := range map[string]struct {
		end  func(*world.World, *berth.Session)
		why  berth.EndReason
		want error
	}{
		"terminated": {func(w *world.World, s *berth.Session) { w.Terminate(s) }, berth.EndTerminated, berth.ErrTerminated},
		"expired":    {func(*world.World, *berth.Session) { world.After(3 * time.Hour) }, berth.EndExpired, berth.ErrExpired},
		"destroyed": {func(w *world.World, s *berth.Session) {
			if err := w.Destroy(context.Background()); err != nil {
				w.T.Error(err)
			}
		}, berth.EndTerminated, berth.ErrTerminated},
		"interrupted": {func(w *world.World, s *berth.Session) {
			w.Cloud.Reclaim(w.InstanceRecords()[0].ID, 2*time.Minute)
			world.After(time.Minute)
		}, berth.EndInterrupted, berth.ErrInstanceLost},
	} {
		t.Run(name, func(t *testing.T) {
			called, patch = ends{}, ""
			world.Run(t, world.Setup{Config: berth.Config{OnEnd: inside}}, func(t *testing.T, w *world.World) {
				s := w.Create("t", world.RepoA)
				keepFile(t, s, "a.txt", "work")
				done := s.Done()
				c.end(w, s)
				select {
				case <-done:
				default:
					t.Fatal("it has not ended")
				}
				if err := s.Err(); !errors.Is(err, c.want) || errors.Is(err, berth.ErrUnsaved) {
					t.Error(err)
				}
				if called.String() != fmt.Sprint([]berth.EndReason{c.why}) || !strings.Contains(patch, "+work") {
					t.Errorf("calls: %v, patch: %s", &called, patch)
				}
			})
		})
	}
}

// TestLostWorkStaysOnInstancesThatStay: KeepLost keeps what OnEnd could not save, and nothing on an instance that the cloud takes back.
func TestLostWorkStaysOnInstancesThatStay(t *testing.T) {
	for name, end := range map[string]func(w *world.World, s *berth.Session){
		"kept": func(w *world.World, s *berth.Session) { w.Terminate(s) },
		"": func(w *world.World, s *berth.Session) {
			w.Cloud.Reclaim(w.InstanceRecords()[0].ID, 2*time.Minute)
			world.After(time.Minute)
		},
	} {
		fails := func(context.Context, *berth.Session, berth.EndReason) error { return errors.New("the bucket is full") }
		world.Run(t, world.Setup{Config: berth.Config{OnEnd: fails, KeepLost: orchestrator.Retention{MaxCount: 2}}}, func(t *testing.T, w *world.World) {
			s := w.Create("t", world.RepoA)
			end(w, s)
			<-s.Done()
			info, err := s.Refresh(t.Context())
			if kept := strings.HasPrefix(info.Saved, "instance "); err != nil || kept != (name == "kept") || kept != strings.Contains(s.Err().Error(), "kept on") || !errors.Is(s.Err(), berth.ErrUnsaved) {
				t.Errorf("%q: %q, %v, %v", name, info.Saved, s.Err(), err)
			}
		})
	}
}

// TestOnEndFails: what has failed is told, and the session ends all the same.
func TestOnEndFails(t *testing.T) {
	for name, c := range map[string]struct {
		fn   func(context.Context, *berth.Session, berth.EndReason) error
		want string
	}{
		"error": {func(context.Context, *berth.Session, berth.EndReason) error { return errors.New("the bucket is full") }, "the bucket is full"},
		"panic": {func(context.Context, *berth.Session, berth.EndReason) error { panic("oh") }, "it panicked: oh"},
		"blocks": {func(ctx context.Context, _ *berth.Session, _ berth.EndReason) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, "EndTimeout has passed"},
		"no stop": {func(context.Context, *berth.Session, berth.EndReason) error { time.Sleep(time.Hour); return nil }, "does not return"},
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{Config: berth.Config{OnEnd: c.fn}}, func(t *testing.T, w *world.World) {
				s := w.Create("t", world.RepoA)
				begun := time.Now()
				w.Terminate(s)
				if took := time.Since(begun); took > 70*time.Second {
					t.Errorf("it took %v", took)
				}
				if err := s.Err(); !errors.Is(err, berth.ErrTerminated) || !errors.Is(err, berth.ErrUnsaved) || !strings.Contains(err.Error(), c.want) {
					t.Error(err)
				}
				told := w.Events(berth.EventSessionEnded)
				if len(told) != 1 || !errors.Is(told[0].Err, berth.ErrUnsaved) {
					t.Errorf("%+v", told)
				}
				if !strings.Contains(w.LogText(), c.want) {
					t.Error("the log does not say it")
				}
				time.Sleep(2 * time.Hour) // the function returns
			})
		})
	}
}

// TestOnEndOtherHandles: they say that the session has ended while the function runs.
func TestOnEndOtherHandles(t *testing.T) {
	var running, goOn chan struct{}
	fn := func(ctx context.Context, s *berth.Session, _ berth.EndReason) error {
		close(running)
		<-goOn
		return s.Command(ctx, "make").Run()
	}
	world.Run(t, world.Setup{Config: berth.Config{OnEnd: func(ctx context.Context, s *berth.Session, why berth.EndReason) error { return fn(ctx, s, why) }}}, func(t *testing.T, w *world.World) {
		running, goOn = make(chan struct{}), make(chan struct{})
		s := w.Create("t", world.RepoA)
		ended := make(chan error, 1)
		go func() { ended <- w.TerminateSession(context.Background(), s.ID()) }()
		<-running
		if err := s.Command(t.Context(), "make").Run(); !errors.Is(err, berth.ErrTerminated) {
			t.Errorf("a command of another handle: %v", err)
		}
		close(goOn)
		if err := <-ended; err != nil || errors.Is(s.Err(), berth.ErrUnsaved) {
			t.Error(err, s.Err())
		}
	})
}

// TestOnEndAgain: a process that dies, or is closed, while the function runs is followed by one that runs it again.
func TestOnEndAgain(t *testing.T) {
	for _, how := range []string{"cut off", "closed"} {
		t.Run(how, func(t *testing.T) {
			var called ends
			var started chan struct{}
			onEnd := func(ctx context.Context, s *berth.Session, why berth.EndReason) error {
				if called.note(why) == 1 {
					close(started)
					<-ctx.Done()
					return context.Cause(ctx)
				}
				return s.Command(ctx, "make").Run()
			}
			world.Run(t, world.Setup{Config: berth.Config{OnEnd: onEnd, EndTimeout: time.Hour}}, func(t *testing.T, w *world.World) {
				started = make(chan struct{})
				dying, reach := w.NewCutProvider()
				s := world.Create(t, dying, world.Request("t", world.RepoA))
				go dying.TerminateSession(context.Background(), s.ID())
				<-started
				if how == "closed" {
					dying.Close()
				} else {
					reach.Cut.Store(true)
				}
				there := world.Get(t, w.Provider, s.ID())
				<-there.Done()
				if called.String() != "[terminated terminated]" || errors.Is(there.Err(), berth.ErrUnsaved) || !errors.Is(there.Err(), berth.ErrTerminated) {
					t.Errorf("%v, %v", &called, there.Err())
				}
			})
		})
	}
}

// TestSaveWork: what a session has not pushed is saved when it ends, and is there in the next one.
func TestSaveWork(t *testing.T) {
	for name, c := range map[string]struct {
		mode       berth.SaveWork
		refuse     bool // every push
		snapshots  bool
		saved      string
		head, want string // the branch and a file of the restored session
	}{
		"branch":                  {mode: berth.SaveToBranch, saved: "branch berth/save/t", head: "feature"},
		"snapshot":                {mode: berth.SaveToSnapshots, snapshots: true, saved: "snapshot work/t-", head: "feature"},
		"snapshot, not a branch":  {mode: berth.SaveToBranch, refuse: true, snapshots: true, saved: "snapshot work/t-", head: "feature"},
		"neither":                 {mode: berth.SaveToBranch, refuse: true},
		"nothing is to be saved":  {mode: berth.SaveNothing},
		"nothing is to be stored": {mode: berth.SaveNothing, snapshots: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := berth.Config{SaveWork: c.mode}
			if c.snapshots {
				cfg.Snapshots = fake.NewSnapshots(fake.SnapshotOptions{})
			}
			engine := fake.EngineOptions{}
			if c.refuse {
				engine.Repositories = map[string]fake.Repo{world.RepoA: {PushErr: errors.New("remote: refused by a rule")}}
			}
			world.Run(t, world.Setup{Config: cfg, Engine: engine}, func(t *testing.T, w *world.World) {
				r := world.Request("t", world.RepoA)
				r.NewBranch = "feature"
				s := world.Create(t, w.Provider, r)
				if s.Info().Branch != "feature" {
					t.Errorf("%+v", s.Info())
				}
				keepFile(t, s, "a.txt", "one")
				if _, err := s.Commit(t.Context(), work.CommitOptions{Message: "one"}); err != nil {
					t.Fatal(err)
				}
				keepFile(t, s, "b.txt", "two\n")
				w.Terminate(s)
				info, err := s.Refresh(t.Context())
				if err != nil || !strings.HasPrefix(info.Saved, c.saved) || (info.Saved == "") != (c.saved == "") {
					t.Errorf("%+v, %v", info, err)
				}
				if unsaved := errors.Is(s.Err(), berth.ErrUnsaved); unsaved != (name == "neither") || unsaved && !strings.Contains(s.Err().Error(), "refused by a rule") {
					t.Error(s.Err())
				}
				if failed := w.Stats().Errors; (failed == 1) != c.refuse { // also that of a push whose work is in a snapshot
					t.Errorf("%d failures are told", failed)
				}
				if told := w.Events(berth.EventWorkSaved); (len(told) == 1) != (c.saved != "") {
					t.Errorf("%+v", told)
				}
				r = world.Request("next", world.RepoA)
				r.Restore = "t"
				got := world.Create(t, w.Provider, r)
				if got.Info().Restored != (c.saved != "") {
					t.Errorf("%+v", got.Info())
				}
				if c.saved == "" {
					return
				}
				for name, want := range map[string]string{"a.txt": "one", "b.txt": "two\n"} {
					if b, err := got.FS(t.Context()).ReadFile(name); err != nil || string(b) != want {
						t.Errorf("%s: %q, %v", name, b, err)
					}
				}
				changes, err := got.Changes(t.Context())
				if err != nil || changes.Branch != c.head || got.Info().Branch != c.head || changes.Clean() {
					t.Errorf("%+v, %v", changes, err)
				}
			})
		})
	}
}

// TestSaveWorkAfterOnEnd: a function that fails, or does not return, does not keep the work from being saved.
func TestSaveWorkAfterOnEnd(t *testing.T) {
	blocks := func(context.Context, *berth.Session, berth.EndReason) error { time.Sleep(time.Hour); return nil }
	world.Run(t, world.Setup{Config: berth.Config{SaveWork: berth.SaveToBranch, OnEnd: blocks}}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		keepFile(t, s, "a.txt", "one")
		w.Terminate(s)
		info, err := s.Refresh(t.Context())
		if err != nil || info.Saved != "branch berth/save/t" || !errors.Is(s.Err(), berth.ErrUnsaved) || !strings.Contains(s.Err().Error(), "does not return") {
			t.Errorf("%q, %v, %v", info.Saved, s.Err(), err)
		}
		time.Sleep(2 * time.Hour) // the function returns
	})
}

// TestSaveNothingWhereAllIsPushed: no branch is left of a session that has pushed its work.
func TestSaveNothingWhereAllIsPushed(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{SaveWork: berth.SaveToBranch}}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		keepFile(t, s, "a.txt", "one")
		if _, err := s.Commit(t.Context(), work.CommitOptions{Message: "one"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Push(t.Context(), work.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		w.Terminate(s)
		if heads := w.Engine.Heads(world.RepoA); len(heads) != 1 || s.Info().Saved != "" {
			t.Errorf("%v", heads)
		}
	})
}

func TestNewBranch(t *testing.T) {
	engine := fake.EngineOptions{Repositories: map[string]fake.Repo{world.RepoA: {Branches: []string{"dev"}}}}
	world.Run(t, world.Setup{Engine: engine}, func(t *testing.T, w *world.World) {
		r := world.Request("t", world.RepoA)
		r.Branch, r.NewBranch = "dev", "mine"
		s := world.Create(t, w.Provider, r)
		if s.Info().Branch != "mine" || s.Info().Commit != w.Engine.Heads(world.RepoA)["dev"] {
			t.Errorf("%+v", s.Info())
		}
		if again, err := w.CreateSession(t.Context(), r); err != nil || again.ID() != s.ID() {
			t.Error(again, err)
		}
		other := r
		other.NewBranch = "another"
		if _, err := w.CreateSession(t.Context(), other); !errors.Is(err, berth.ErrTaskConflict) {
			t.Error(err)
		}
		r.TaskID, r.NewBranch = "u", "dev"
		_, err := w.CreateSession(t.Context(), r)
		if failed, ok := errors.AsType[*berth.StartError](err); !ok || failed.Phase != "checkout" || !strings.Contains(err.Error(), "exists at the remote") {
			t.Error(err)
		}
		r.NewBranch = "--force"
		if _, err := w.CreateSession(t.Context(), r); !errors.Is(err, berth.ErrInvalid) {
			t.Error(err)
		}
	})
}

// TestSavedWorkIsNotFoundByOthers: those who share nothing do not find what was stored of each other's tasks.
func TestSavedWorkIsNotFoundByOthers(t *testing.T) {
	cfg := berth.Config{
		Sharing: berth.Sharing{Tenant: "org"}, SaveWork: berth.SaveToSnapshots, Snapshots: fake.NewSnapshots(fake.SnapshotOptions{}),
	}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		create := func(task, org string) *berth.Session {
			r := world.Request(task, world.RepoA)
			r.Labels = map[string]string{"org": org}
			if task != "t" {
				r.Restore = "t"
			}
			return world.Create(t, w.Provider, r)
		}
		s := create("t", "one")
		keepFile(t, s, "a.txt", "secret")
		w.Terminate(s)
		for org, finds := range map[string]bool{"one": true, "two": false} {
			s := create("of-"+org, org)
			if _, err := s.FS(t.Context()).ReadFile("a.txt"); s.Info().Restored != finds || (err == nil) != finds {
				t.Errorf("%s: restored %v, %v", org, s.Info().Restored, err)
			}
		}
	})
}

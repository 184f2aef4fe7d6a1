package berth_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

func TestAuthorizeIsAskedFirstAndAlways(t *testing.T) {
	refusal := errors.New("not on the list")
	var mu sync.Mutex
	var asked []berth.AccessRequest
	refuse := true
	cfg := berth.Config{Authorize: func(ctx context.Context, r berth.AccessRequest) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r)
		r.Labels["team"] = "changed" // without effect
		if refuse {
			return refusal
		}
		return nil
	}}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		r := berth.SessionRequest{
			TaskID: "t", UserID: "ann", Repository: "https://x:hunter2@github.com/Acme/Rocket.git", Branch: "main",
			Labels: map[string]string{"team": "red"},
		}
		_, err := w.CreateSession(t.Context(), r)
		if !errors.Is(err, berth.ErrAccessDenied) || !errors.Is(err, refusal) || berth.Retryable(err) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
		if len(w.InstanceRecords())+len(w.ContainerRecords())+len(w.OpenSessions())+len(w.Cloud.Machines()) != 0 || len(w.Events()) != 0 {
			t.Errorf("something was started: %v", w.Events())
		}
		refuse = false
		s := world.Create(t, w.Provider, r)
		if s.Info().Labels["team"] != "red" {
			t.Errorf("%v", s.Info().Labels)
		}
		if again := world.Create(t, w.Provider, r); again.ID() != s.ID() {
			t.Error("another session")
		}
		refuse = true
		if _, err := w.CreateSession(t.Context(), r); !errors.Is(err, refusal) {
			t.Errorf("the task has a session: %v", err)
		}
		if len(asked) != 4 {
			t.Fatalf("asked %d times", len(asked))
		}
		print := asked[0].Credential
		for _, got := range asked {
			got.Labels, got.Credential = nil, ""
			want := berth.AccessRequest{UserID: "ann", TaskID: "t", Branch: "main", Repository: s.Info().Repository}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		prints := map[string]string{print: "x:hunter2"}
		refuse = false
		for i, credential := range []string{"", "x:hunter3", "hunter2", "xhunter2:", "y:hunter2"} {
			r.TaskID, r.Repository = fmt.Sprint("t", i), "https://"+credential+"@github.com/acme/rocket"
			world.Create(t, w.Provider, r)
			got := asked[len(asked)-1].Credential
			if other, seen := prints[got]; seen || (got == "") != (credential == "") || credential != "" && len(got) != 64 {
				t.Errorf("%q and %q have the fingerprint %q", credential, other, got)
			}
			prints[got] = credential
		}
		r.TaskID, r.Repository = "same", "git+https://x:hunter2@github.com/other/thing"
		world.Create(t, w.Provider, r)
		if got := asked[len(asked)-1].Credential; got != print {
			t.Error("one credential has two fingerprints")
		}
	})
}

func TestAuthorizeThatDoesNotReturnProperly(t *testing.T) {
	var stuck chan struct{} // of the bubble
	cfg := berth.Config{Authorize: func(ctx context.Context, r berth.AccessRequest) error {
		switch r.TaskID {
		case "panics":
			panic("out of order")
		case "exits":
			runtime.Goexit()
		case "waits":
			<-ctx.Done()
			return ctx.Err()
		case "stuck":
			<-stuck
		case "fails":
			return fmt.Errorf("the directory does not answer: %w", context.DeadlineExceeded)
		}
		return nil
	}}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		stuck = make(chan struct{})
		for _, task := range []string{"panics", "exits", "fails"} {
			if _, err := w.CreateSession(t.Context(), world.Request(task, world.RepoA)); !errors.Is(err, berth.ErrAccessDenied) || berth.Retryable(err) {
				t.Errorf("%s: %v", task, err)
			}
		}
		for _, task := range []string{"waits", "stuck"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			begun := time.Now()
			_, err := w.CreateSession(ctx, world.Request(task, world.RepoA))
			cancel()
			if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, berth.ErrAccessDenied) || took != time.Minute {
				t.Errorf("%s: %v after %v", task, err, took)
			}
		}
		c := world.Creating(t.Context(), w.Provider, world.Request("stuck", world.RepoA))
		w.Pending(c, "Config.Authorize does not return")
		w.Close()
		if r := <-c; !errors.Is(r.Err, berth.ErrClosed) {
			t.Errorf("after Close: %v", r.Err)
		}
		if len(w.OpenSessions()) != 0 {
			t.Errorf("%v", w.OpenSessions())
		}
		close(stuck)
	})
}

func TestSharingKeepsApart(t *testing.T) {
	host := func(r berth.AccessRequest) (string, error) { return r.Labels["cell"], nil }
	request := func(branch, user, tenant, cell string) berth.SessionRequest {
		return berth.SessionRequest{UserID: user, Repository: world.RepoA, Branch: branch, Labels: map[string]string{"tenant": tenant, "cell": cell}}
	}
	requests := []berth.SessionRequest{
		request("", "ann", "a", "1"), request("main", "ann", "a", "1"), request("", "bob", "a", "1"), request("", "ann", "b", "1"),
		request("", "ann", "a", "2"), request("", "a", "ann", "1"), request("", "ann", "a&user=bob", "1"), request("", "ann&tenant=b", "a", "1"),
	}
	for _, c := range []struct {
		sharing berth.Sharing
		differs func(a, b berth.SessionRequest) bool
	}{
		{berth.Sharing{}, func(a, b berth.SessionRequest) bool { return false }},
		{berth.Sharing{Branch: true}, func(a, b berth.SessionRequest) bool { return a.Branch != b.Branch }},
		{berth.Sharing{User: true}, func(a, b berth.SessionRequest) bool { return a.UserID != b.UserID }},
		{berth.Sharing{Tenant: "tenant"}, func(a, b berth.SessionRequest) bool { return a.Labels["tenant"] != b.Labels["tenant"] }},
		{berth.Sharing{Key: host}, func(a, b berth.SessionRequest) bool { return a.Labels["cell"] != b.Labels["cell"] }},
		{berth.Sharing{Tenant: "tenant", User: true, Branch: true, Key: host}, func(a, b berth.SessionRequest) bool {
			return a.Branch != b.Branch || a.UserID != b.UserID || fmt.Sprint(a.Labels) != fmt.Sprint(b.Labels)
		}},
	} {
		t.Run(c.sharing.String(), func(t *testing.T) {
			world.Run(t, world.Setup{Config: berth.Config{Sharing: c.sharing, MaxInstances: 3}}, func(t *testing.T, w *world.World) {
				var infos []berth.SessionInfo
				for i, r := range requests {
					r.TaskID = fmt.Sprint("t", i)
					infos = append(infos, world.Create(t, w.Provider, r).Info())
				}
				for i := range requests {
					for j := range i {
						shared := infos[i].Container == infos[j].Container
						if differs := c.differs(requests[i], requests[j]); shared == differs {
							t.Errorf("%+v and %+v share: %v", requests[i], requests[j], shared)
						}
					}
				}
				containers := make(map[string]bool)
				for _, info := range infos {
					containers[info.Container.Name] = true
				}
				mirrors := make(map[string]bool)
				for _, m := range w.Engine.Mirrors() {
					mirrors[m.Name] = true
				}
				if len(mirrors) != len(containers) {
					t.Errorf("%d containers have %d mirrors", len(containers), len(mirrors))
				}
			})
		})
	}
}

func TestSharingWithoutAKey(t *testing.T) {
	unknown := errors.New("no such cell")
	cfg := berth.Config{Sharing: berth.Sharing{
		Tenant: "tenant",
		Key: func(r berth.AccessRequest) (string, error) {
			switch r.TaskID {
			case "fails":
				return "", unknown
			case "panics":
				panic("out of order")
			case "long":
				return strings.Repeat("x", 257), nil
			case "odd":
				return "a\x00b", nil
			}
			return "", nil
		},
		Private: func(r naming.Repository) bool {
			if r.Name() == "odd" {
				panic("out of order")
			}
			return false
		},
	}}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		for task, c := range map[string]struct {
			labels            map[string]string
			repository, field string
		}{
			"none":    {nil, world.RepoA, "SessionRequest.Labels"},
			"empty":   {map[string]string{"tenant": ""}, world.RepoA, "SessionRequest.Labels"},
			"fails":   {map[string]string{"tenant": "a"}, world.RepoA, "Config.Sharing.Key"},
			"panics":  {map[string]string{"tenant": "a"}, world.RepoA, "Config.Sharing.Key"},
			"long":    {map[string]string{"tenant": "a"}, world.RepoA, "Config.Sharing.Key"},
			"odd":     {map[string]string{"tenant": "a"}, world.RepoA, "Config.Sharing.Key"},
			"private": {map[string]string{"tenant": "a"}, "https://git.example/acme/odd", "Config.Sharing.Private"},
			"fine":    {map[string]string{"tenant": "a"}, world.RepoA, ""},
		} {
			r := world.Request(task, c.repository)
			r.Labels = c.labels
			_, err := w.CreateSession(t.Context(), r)
			failure, _ := errors.AsType[*berth.FieldError](err)
			if c.field == "" && err != nil || c.field != "" && (!errors.Is(err, berth.ErrInvalid) || failure == nil || failure.Field != c.field) {
				t.Errorf("%s: %v", task, err)
			}
			if (task == "fails") != errors.Is(err, unknown) {
				t.Errorf("%s: %v", task, err)
			}
		}
		r := world.Request("fine", world.RepoA)
		r.Labels = map[string]string{"tenant": "b"}
		if _, err := w.CreateSession(t.Context(), r); !errors.Is(err, berth.ErrTaskConflict) {
			t.Errorf("the task belongs to another tenant: %v", err)
		}
	})
	_, err := berth.New(t.Context(), berth.Config{Sharing: berth.Sharing{Tenant: "a\x00b"}, Access: 17})
	for _, field := range []string{"Config.Sharing.Tenant", "Config.Access"} {
		if !errors.Is(err, berth.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestAPrivateRepositoryIsNeverShared: each session has a container and a mirror, which are removed with it.
func TestAPrivateRepositoryIsNeverShared(t *testing.T) {
	cfg := berth.Config{Sharing: berth.Sharing{Private: func(r naming.Repository) bool { return r.Name() == "rocket" }}}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		w.Create("other", world.RepoB)
		for round := range 2 { // a task ID may come again
			a, b := w.Create("a", world.RepoA), w.Create("b", world.RepoA)
			if a.Info().Container == b.Info().Container || a.Info().Start != berth.StartCold || b.Info().Start != berth.StartCold {
				t.Errorf("round %d: %+v and %+v", round, a.Info(), b.Info())
			}
			if n := len(w.Engine.Mirrors()); n != 3 {
				t.Errorf("round %d: %d mirrors", round, n)
			}
			w.Terminate(a)
			w.Terminate(b)
			world.After(time.Second)
			if m := w.Engine.Mirrors(); len(m) != 1 || m[0].Key.Repository.Name() != "skates" || len(w.ContainerRecords()) != 1 {
				t.Errorf("round %d: left are %+v", round, m)
			}
		}
		r := world.Request("c", world.RepoA)
		r.UserID = world.OtherUser
		c := world.Create(t, w.Provider, r)
		w.Terminate(c)
		if again := w.Create("c", world.RepoA); again.Info().Container.Name == c.Info().Container.Name {
			t.Error("two users have a container of the same name")
		}
		c, err := w.SessionByTask(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		w.Engine.KillContainer(c.Info().Container.Name)
		<-c.Done()
		world.After(time.Minute)
		if m := w.Engine.Mirrors(); len(m) != 1 {
			t.Errorf("after the container's death, left are %+v", m)
		}
	})
}

func TestAllowAllIsLoggedOnce(t *testing.T) {
	for mode, want := range map[berth.Access]int{berth.AccessProve: 0, berth.AccessAllowAll: 1} {
		world.Run(t, world.Setup{Config: berth.Config{Access: mode}}, func(t *testing.T, w *world.World) {
			w.Create("a", world.RepoA)
			w.Create("b", world.RepoA)
			synctest.Wait()
			if n := strings.Count(w.Logged(), "AccessAllowAll"); n != want {
				t.Errorf("%s: logged %d times", mode, n)
			}
		})
	}
}

// TestHostFunctionThatPanics: the process lives, the request fails with the panic's words, and others are served.
func TestHostFunctionThatPanics(t *testing.T) {
	var broken atomic.Bool
	check := func(what string) {
		if broken.Load() && strings.Contains(what, "rocket") {
			panic("out of order")
		}
	}
	for name, set := range map[string]func(*berth.Config){
		"Config.UserLimitsFor": func(c *berth.Config) {
			c.UserLimitsFor = func(user string) (l berth.UserLimits) { check("rocket of " + user); return l }
		},
		"Config.ImageFor": func(c *berth.Config) {
			c.ImageFor = func(r naming.Repository) string { check(r.Path); return "" }
		},
		"Config.EgressFor": func(c *berth.Config) {
			c.EgressFor = func(k naming.Key) (e orchestrator.Egress) { check(k.String()); return e }
		},
	} {
		t.Run(name, func(t *testing.T) {
			broken.Store(false)
			cfg := berth.Config{MaxTasksPerInstance: 1, MaxInstances: 1}
			set(&cfg)
			world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
				first := w.Create("first", world.RepoB)
				waits := world.Creating(t.Context(), w.Provider, world.Request("waits", world.RepoA))
				world.After(time.Minute)
				broken.Store(true)
				w.Terminate(first)
				world.After(time.Minute)
				if name == "Config.UserLimitsFor" {
					w.Pending(waits, "the limits are not known")
					_, err := w.CreateSession(t.Context(), world.Request("next", world.RepoB))
					if !errors.Is(err, berth.ErrInvalid) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "out of order") {
						t.Error(err)
					}
					broken.Store(false)
					if r := <-waits; r.Err != nil {
						t.Error(r.Err)
					}
					return
				}
				if r := <-waits; r.Err == nil || !strings.Contains(r.Err.Error(), name) || !strings.Contains(r.Err.Error(), "out of order") {
					t.Error(r.Err)
				}
				w.Create("next", world.RepoB)
			})
		})
	}
}

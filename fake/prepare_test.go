package fake_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// A workshop is a pool that prepares the workspace of a repository.
type workshop struct {
	*berth.Provider
	t      *testing.T
	engine *fake.Engine

	mu     sync.Mutex // protects what follows
	events []berth.Event
	seen   []fake.Command // that prepare
	code   int            // of those
}

const shop = "https://github.com/acme/shop"

func newWorkshop(t *testing.T, p orchestrator.Prepare, change ...func(*fake.EngineOptions, *berth.Config)) *workshop {
	w := &workshop{t: t}
	opts := fake.EngineOptions{Cloud: fake.NewCloud(fake.CloudOptions{}), Run: w.run}
	cfg := berth.Config{
		Env: map[string]string{"POOL": "p"}, MirrorMaxAge: time.Second,
		PrepareFor: func(naming.Repository) orchestrator.Prepare { return p },
		OnEvent: func(e berth.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if e.Type == berth.EventPrepared {
				w.events = append(w.events, e)
			}
		},
	}
	for _, f := range change {
		f(&opts, &cfg)
	}
	w.engine = fake.NewEngine(opts)
	provider, err := fake.NewProvider(fake.Options{Engine: w.engine, Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	w.Provider = provider
	t.Cleanup(func() { provider.Close(); w.engine.Close() })
	return w
}

// run installs in a preparation, and prints what is installed otherwise.
func (w *workshop) run(ctx context.Context, c fake.Command) int {
	switch c.Args[0] {
	case "install":
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen = append(w.seen, c)
		c.Files.Write("node_modules/dep", []byte("dep"))
		c.Files.Write(c.Env["HOME"]+"/.npm/index", []byte("index"))
		return w.code
	case "hang":
		<-ctx.Done()
		return -9
	}
	dep, err := c.Files.Read("node_modules/dep")
	index, err2 := c.Files.Read(c.Env["HOME"] + "/.npm/index")
	if err != nil || err2 != nil {
		return 1
	}
	c.Stdout.Write(append(append(dep, ' '), index...))
	return 0
}

// start starts a task, and returns what it finds installed.
func (w *workshop) start(task, branch string) string {
	w.t.Helper()
	s, err := w.CreateSession(w.t.Context(), berth.SessionRequest{
		TaskID: task, UserID: "u", Repository: shop, Branch: branch, Env: map[string]string{"SECRET": "s"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := s.Command(w.t.Context(), "look").Output()
	if exit := (*berth.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return string(out)
}

// wait returns when the workspace is prepared.
func (w *workshop) wait() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

// told returns the events, and forgets them.
func (w *workshop) told() (text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if text += "prepared;"; e.Err != nil {
			text += e.Err.Error()
		}
	}
	w.events = nil
	return text
}

var install = orchestrator.Prepare{Run: [][]string{{"install"}}, Dirs: []string{".npm"}}

const installed = "dep index"

// TestAWorkspaceIsPreparedBesideTheFirstSession: it starts without, and those after it begin with what is installed, also on newer
// commits whose lock files are the same.
func TestAWorkspaceIsPreparedBesideTheFirstSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, install)
		step := func(when, task, want, told string) {
			t.Helper()
			if got := w.start(task, ""); got != want {
				t.Errorf("%s, a session finds %q, want %q", when, got, want)
			}
			w.wait()
			if got := w.told(); got != told {
				t.Errorf("%s, the events say %q, want %q", when, got, told)
			}
		}
		step("at first", "1", "", "prepared;")
		step("then", "2", installed, "")
		w.engine.Push(shop, "main")
		step("on a newer commit", "3", installed, "")
		w.engine.PushLocks(shop, "main")
		step("with other lock files", "4", "", "prepared;")
		step("then", "5", installed, "")
		if s := w.Stats(); s.Prepared != 3 || s.Unprepared != 2 || s.Containers.Prepared != 2 || s.Containers.PrepareFailures != 0 {
			t.Errorf("%+v", s)
		}
		for _, c := range w.seen {
			if c.Env["SECRET"] != "" || c.Env["POOL"] != "p" || c.UID >= 10000 {
				t.Errorf("a workspace is prepared with %v as uid %d", c.Env, c.UID)
			}
		}
	})
}

// TestALayerOfABranchIsForThatBranch: what another branch has run is not used by sessions of the default branch.
func TestALayerOfABranchIsForThatBranch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, install)
		w.engine.Push(shop, "evil")
		for n, want := range []string{"", installed} {
			if got := w.start("evil"+string(rune('a'+n)), "evil"); got != want {
				t.Errorf("start %d finds %q", n, got)
			}
			w.wait()
		}
		if got := w.start("main", ""); got != "" {
			t.Errorf("a session of the default branch finds %q", got)
		}
	})
}

// TestSessionsMayWaitForTheirWorkspace, as long as they want to. Several wait for one making.
func TestSessionsMayWaitForTheirWorkspace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waiting := install
		waiting.Wait = time.Minute
		w := newWorkshop(t, waiting)
		var all sync.WaitGroup
		for _, task := range []string{"1", "2", "3"} {
			all.Go(func() {
				if got := w.start(task, ""); got != installed {
					t.Errorf("a session finds %q", got)
				}
			})
		}
		all.Wait()
		if w.Stats().Containers.Prepared != 1 || len(w.seen) != 1 {
			t.Errorf("it was prepared %d times", len(w.seen))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		impatient := install
		impatient.Wait = time.Second
		w := newWorkshop(t, impatient)
		begun := time.Now()
		if got := w.start("1", ""); got != "" {
			t.Errorf("a session finds %q", got)
		}
		if took := time.Since(begun); took > 3*time.Minute {
			t.Errorf("it waited for %v", took)
		}
		w.wait()
		if got := w.start("2", ""); got != installed {
			t.Errorf("then a session finds %q", got)
		}
	})
}

// TestSessionsStartWithoutAWorkspaceThatFails: the event, the log and the counts say so once.
func TestSessionsStartWithoutAWorkspaceThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		prepare orchestrator.Prepare
		code    int
		change  func(*fake.EngineOptions, *berth.Config)
		want    string
		failed  int64
	}{
		"a command fails": {install, 3, nil, "install: exit status 3", 1},
		"it takes too long": {
			orchestrator.Prepare{Run: [][]string{{"hang"}}, Timeout: 20 * time.Second}, 0, nil, "it took longer than 20s", 1,
		},
		"checkouts are not shared": {
			install, 0, func(o *fake.EngineOptions, _ *berth.Config) { o.NoSharedCheckouts = "an old kernel" }, "an old kernel", 0,
		},
		"there are no rooms": {install, 0, func(o *fake.EngineOptions, _ *berth.Config) { o.NoRooms = "refused" }, "no warden", 0},
		"it is not possible": {orchestrator.Prepare{Run: [][]string{{""}}}, 0, nil, "", 0},
		"the host's function panics": {install, 0, func(_ *fake.EngineOptions, c *berth.Config) {
			c.PrepareFor = func(naming.Repository) orchestrator.Prepare { panic("planted") }
		}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var changes []func(*fake.EngineOptions, *berth.Config)
				if c.change != nil {
					changes = append(changes, c.change)
				}
				w := newWorkshop(t, c.prepare, changes...)
				w.code = c.code
				for _, task := range []string{"1", "2"} {
					if got := w.start(task, ""); got != "" {
						t.Errorf("a session finds %q", got)
					}
					w.wait()
				}
				told := w.told()
				if c.want == "" && told != "" || c.want != "" && (strings.Count(told, "prepared;") != 1 || !strings.Contains(told, c.want)) {
					t.Errorf("the events say %q, want %q once", told, c.want)
				}
				if s := w.Stats(); s.Containers.PrepareFailures != c.failed || s.Prepared != 0 || c.want != "" && s.Unprepared != 2 {
					t.Errorf("%+v", s)
				}
				if c.want == "" && w.Stats().Containers.Errors == 0 {
					t.Error("nothing says that no workspace is prepared")
				}
			})
		})
	}
}

// TestAPreparationIsCutOff by the death of its container: the next container's sessions have it made again.
func TestAPreparationIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, install)
		s, err := w.CreateSession(t.Context(), berth.SessionRequest{TaskID: "1", UserID: "u", Repository: shop})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the making takes ten
		w.engine.KillContainer(s.Info().Container.Name)
		w.wait()
		if w.Stats().Containers.Prepared != 0 || w.told() != "" {
			t.Error("it was made by a dead container")
		}
		for n, want := range []string{"", installed} {
			if got := w.start("after"+string(rune('a'+n)), ""); got != want {
				t.Errorf("start %d finds %q", n, got)
			}
			w.wait()
		}
	})
}

// TestAWarmContainerIsPrepared before its first session.
func TestAWarmContainerIsPrepared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, install, func(_ *fake.EngineOptions, c *berth.Config) { c.Warm.Containers, c.MinInstances = 1, 1 })
		w.wait()
		if err := w.Warm(t.Context(), shop, "", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		w.wait()
		if got := w.start("1", ""); got != installed {
			t.Errorf("the first session finds %q", got)
		}
	})
}

// TestDevcontainer: where the host says so, the commands of the repository's file prepare, its variables are in the environment, and an
// event names the rest once.
func TestDevcontainer(t *testing.T) {
	for _, reads := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var names []string
			w := newWorkshop(t, orchestrator.Prepare{Dirs: []string{".npm"}}, func(o *fake.EngineOptions, c *berth.Config) {
				c.Devcontainer = reads
				o.Repositories = map[string]fake.Repo{shop: {Devcontainer: `{"image": "x", "onCreateCommand": ["install"], "containerEnv": {"POOL": "file", "OF": "file"}}`}}
				other := c.OnEvent
				c.OnEvent = func(e berth.Event) {
					if e.Type == berth.EventDevcontainer {
						names = append(names, e.Message)
					}
					other(e)
				}
			})
			want, told := []string{"", ""}, 0
			if reads {
				want[1], told = installed, 1
			}
			for n, what := range want {
				if got := w.start(string(rune('a'+n)), ""); got != what {
					t.Errorf("start %d finds %q, want %q", n, got, what)
				}
				w.wait()
			}
			if len(names) != told || told > 0 && names[0] != "not supported: image" {
				t.Errorf("the events say %q", names)
			}
			if len(w.seen) != told || told > 0 && (w.seen[0].Env["OF"] != "file" || w.seen[0].Env["POOL"] != "p") {
				t.Errorf("it was prepared by %+v", w.seen)
			}
		})
	}
}

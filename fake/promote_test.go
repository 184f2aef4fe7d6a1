package fake_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/orchestrator"
)

// own starts a task whose session writes some files.
func (w *workshop) own(task string, env map[string]string, files map[string]string) *berth.Session {
	w.t.Helper()
	s, err := w.CreateSession(w.t.Context(), berth.SessionRequest{TaskID: task, UserID: "u", Repository: shop, Env: env})
	if err != nil {
		w.t.Fatal(err)
	}
	fs := s.FS(w.t.Context())
	for name, content := range files {
		dir := name[:max(strings.LastIndex(name, "/"), 0)]
		if dir != "" {
			if err := fs.MkdirAll(dir, 0o755); err != nil {
				w.t.Fatal(err)
			}
		}
		if err := fs.WriteFile(name, []byte(content), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	return s
}

// index writes a file into the home of a session.
func index(t *testing.T, s *berth.Session, content string) {
	t.Helper()
	dir, fs := path.Dir(s.Info().Workdir)+"/.npm", s.FS(t.Context())
	if err := errors.Join(fs.MkdirAll(dir, 0o755), fs.WriteFile(dir+"/index", []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestPromote: what a session has installed is what those after it begin with, also where nothing is prepared and on newer commits. It is
// seen by the host, and counts on the disk.
func TestPromote(t *testing.T) {
	for name, what := range map[string]orchestrator.Prepare{"of nothing": {Dirs: []string{".npm"}}, "in place of what was prepared": install} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorkshop(t, what)
				before := w.start("before", "")
				w.wait()
				w.told()
				s := w.own("s", nil, map[string]string{"node_modules/dep": "own"})
				index(t, s, "mine")
				if err := w.Promote(t.Context(), s.ID()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if before != "" {
					t.Errorf("the session before had %q", before)
				}
				if got := w.told(); got != "prepared;" {
					t.Errorf("the host is told %q", got)
				}
				was := w.Stats().Prepared
				for n := range 2 {
					if got := w.start(fmt.Sprint("after", n), ""); got != "own mine" {
						t.Errorf("a session begins with %q", got)
					}
					w.engine.Push(shop, "main")
					time.Sleep(2 * time.Second) // MirrorMaxAge
				}
				if n := w.Stats().Prepared - was; n != 2 {
					t.Errorf("%d sessions count as those that began with a layer", n)
				}
			})
		})
	}
}

// TestWhatPromoteRefuses names the file, and holds no secret.
func TestWhatPromoteRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, orchestrator.Prepare{}, func(_ *fake.EngineOptions, cfg *berth.Config) {
			cfg.Env = map[string]string{"MODE": "production"}
			cfg.Snapshots = fake.NewSnapshots(fake.SnapshotOptions{})
		})
		env := map[string]string{"TOKEN": "planted-secret"}
		for file, content := range map[string]string{"a/b": "x planted-secret y", "planted-secret": "x", ".npmrc": "x"} {
			s := w.own("t", env, map[string]string{file: content, "mode": "production"})
			err := w.Promote(t.Context(), s.ID())
			if want := strings.Replace(file, "planted-secret", "...", 1); !errors.Is(err, agent.ErrNotPromoted) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "planted") {
				t.Errorf("%s: %v", file, err)
			}
			if berth.Retryable(err) {
				t.Error("it may be tried again")
			}
			if err := w.TerminateSession(t.Context(), s.ID()); err != nil {
				t.Fatal(err)
			}
			if err := w.Promote(t.Context(), s.ID()); !errors.Is(err, berth.ErrTerminated) {
				t.Errorf("of a session that has ended: %v", err)
			}
		}
		if err := w.Promote(t.Context(), "s-none"); !errors.Is(err, berth.ErrSessionNotFound) {
			t.Errorf("of no session: %v", err)
		}
		s := w.own("kept", env, map[string]string{"a": "planted-secret"})
		if _, err := s.Snapshot(t.Context(), "one"); err != nil {
			t.Fatal(err)
		}
		of, err := w.CreateSession(t.Context(), berth.SessionRequest{TaskID: "of", UserID: "u", Repository: shop, Snapshot: "one"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Promote(t.Context(), of.ID()); !errors.Is(err, agent.ErrNotPromoted) {
			t.Errorf("of a session that began with a snapshot: %v", err)
		}
		if got := w.start("after", ""); got != "" {
			t.Errorf("a session begins with %q", got)
		}
	})
}

// TestPromotionsAtOnce are done one after another: one of them decides, and sessions that start meanwhile have all of one, or nothing.
func TestPromotionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, orchestrator.Prepare{Dirs: []string{".npm"}})
		var all []*berth.Session
		for n := range 3 {
			s := w.own(fmt.Sprint("s", n), nil, map[string]string{"node_modules/dep": fmt.Sprint(n)})
			index(t, s, fmt.Sprint(n))
			all = append(all, s)
		}
		failed := make(chan error, len(all))
		for _, s := range all {
			go func() { failed <- w.Promote(t.Context(), s.ID()) }()
		}
		for n := range 10 {
			if got := w.start(fmt.Sprint("meanwhile", n), ""); got != "" && got != "0 0" && got != "1 1" && got != "2 2" {
				t.Errorf("a session begins with %q", got)
			}
		}
		for range all {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
		if got := w.start("after", ""); got == "" {
			t.Error("a session begins without")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.Promote(ctx, all[0].ID()); !errors.Is(err, context.Canceled) {
			t.Errorf("without time: %v", err)
		}
	})
}

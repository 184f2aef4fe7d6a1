package texts_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/files"
	"github.com/berth-go/berth/internal/test/texts"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/snapshots"
	"github.com/berth-go/berth/work"
)

// A trial is a pool, and a session in it.
type trial struct {
	*world.World
	s     *berth.Session
	store *fake.Snapshots
}

// calls are the calls that take text, by type and method. Each is given one text in each of its places. CreateSession has tests of its own.
var calls = map[string]func(ctx context.Context, on *trial, text string) error{
	"Provider.GetSession": func(ctx context.Context, on *trial, text string) error {
		_, err := on.GetSession(ctx, text)
		return err
	},
	"Provider.SessionByTask": func(ctx context.Context, on *trial, text string) error {
		_, err := on.SessionByTask(ctx, text)
		return err
	},
	"Provider.TerminateSession": func(ctx context.Context, on *trial, text string) error { return on.TerminateSession(ctx, text) },
	"Provider.Revoke": func(ctx context.Context, on *trial, text string) error {
		if text == "" { // which means all repositories
			return on.Revoke(ctx, text, "x")
		}
		return both(on.Revoke(ctx, text, ""), on.Revoke(ctx, "nobody", text))
	},
	"Provider.Promote": func(ctx context.Context, on *trial, text string) error { return on.Promote(ctx, text) },
	"Provider.Warm": func(ctx context.Context, on *trial, text string) error {
		until := time.Now().Add(time.Minute)
		return both(on.Warm(ctx, text, "", until), on.Warm(ctx, world.RepoB, text, until))
	},
	"Provider.Cool": func(ctx context.Context, on *trial, text string) error {
		return both(on.Cool(ctx, text, ""), on.Cool(ctx, world.RepoB, text))
	},
	"Provider.ListSessions": func(ctx context.Context, on *trial, text string) (err error) {
		for _, filter := range []berth.SessionFilter{
			{TaskID: text}, {UserID: text}, {Repository: text}, {Labels: map[string]string{text: text}}, {States: []berth.SessionState{berth.SessionState(text)}},
		} {
			for _, failed := range on.ListSessions(ctx, filter) {
				err = both(err, failed)
			}
		}
		return err
	},
	"Provider.Usage": func(ctx context.Context, on *trial, text string) (err error) {
		for _, q := range []berth.UsageQuery{{By: berth.UsageBy(text)}, {By: berth.UsageByLabel, Label: text}} {
			for _, failed := range on.Usage(ctx, q) {
				err = both(err, failed)
			}
		}
		return err
	},
	"Console.Cordon":   func(ctx context.Context, on *trial, text string) error { return on.Console().Cordon(ctx, text, text) },
	"Console.Uncordon": func(ctx context.Context, on *trial, text string) error { return on.Console().Uncordon(ctx, text) },
	"Console.Drain":    func(ctx context.Context, on *trial, text string) error { return on.Console().Drain(ctx, text, text) },
	"Session.Command": func(ctx context.Context, on *trial, text string) error {
		one, other := on.s.Command(ctx, text), on.s.Command(ctx, "true", text)
		for _, cmd := range []*berth.Cmd{one, other} {
			cmd.Env, cmd.Dir = []string{text, "K=" + text}, text
		}
		return both(one.Run(), other.Run())
	},
	"Session.Attach": func(ctx context.Context, on *trial, text string) error {
		_, err := on.s.Attach(ctx, text)
		return err
	},
	"Session.Dial": func(ctx context.Context, on *trial, text string) error {
		var all error
		for _, to := range [][2]string{{text, "localhost:80"}, {"tcp", text}, {"tcp", text + ":80"}, {"tcp", "localhost:" + text}} {
			conn, err := on.s.Dial(ctx, to[0], to[1])
			if all = both(all, err); err == nil {
				conn.Close()
			}
		}
		return all
	},
	"Session.Snapshot": func(ctx context.Context, on *trial, text string) error {
		_, err := on.s.Snapshot(ctx, text)
		return err
	},
	"Session.Commit": func(ctx context.Context, on *trial, text string) error {
		_, err := on.s.Commit(ctx, work.CommitOptions{Message: text, AllowEmpty: true})
		_, other := on.s.Commit(ctx, work.CommitOptions{Message: "x", Paths: []string{text}, AllowEmpty: true})
		_, third := on.s.Commit(ctx, work.CommitOptions{Message: "x", AuthorName: text, AuthorEmail: text, AllowEmpty: true})
		return both(both(err, other), third)
	},
	"Session.Push": func(ctx context.Context, on *trial, text string) error {
		_, err := on.s.Push(ctx, work.PushOptions{Remote: text})
		_, other := on.s.Push(ctx, work.PushOptions{Branch: text})
		return both(err, other)
	},
	"FS.Chmod":   onFile(func(f *files.FS, name string) error { return f.Chmod(name, 0o700) }),
	"FS.Chtimes": onFile(func(f *files.FS, name string) error { return f.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)) }),
	"FS.CopyOut": onFile(func(f *files.FS, name string) error {
		r, err := f.CopyOut(name)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		return both(err, r.Close())
	}),
	"FS.Create": onFile(func(f *files.FS, name string) error { return closed(f.Create(name)) }),
	"FS.Glob": onFile(func(f *files.FS, name string) error {
		_, err := f.Glob(name)
		return err
	}),
	"FS.Lstat": onFile(func(f *files.FS, name string) error {
		_, err := f.Lstat(name)
		return err
	}),
	"FS.Mkdir":    onFile(func(f *files.FS, name string) error { return f.Mkdir(name, 0o700) }),
	"FS.MkdirAll": onFile(func(f *files.FS, name string) error { return f.MkdirAll(name, 0o700) }),
	"FS.Open":     onFile(func(f *files.FS, name string) error { return closed(f.Open(name)) }),
	"FS.OpenFile": onFile(func(f *files.FS, name string) error { return closed(f.OpenFile(name, 1, 0o600)) }),
	"FS.ReadDir": onFile(func(f *files.FS, name string) error {
		_, err := f.ReadDir(name)
		return err
	}),
	"FS.ReadFile": onFile(func(f *files.FS, name string) error {
		_, err := f.ReadFile(name)
		return err
	}),
	"FS.ReadLink": onFile(func(f *files.FS, name string) error {
		_, err := f.ReadLink(name)
		return err
	}),
	"FS.Remove": onFile(func(f *files.FS, name string) error { return f.Remove(name + "x") }),
	"FS.RemoveAll": onFile(func(f *files.FS, name string) error {
		if name == "" {
			return nil
		}
		return f.RemoveAll(name)
	}),
	"FS.Rename":    onFile(func(f *files.FS, name string) error { return both(f.Rename(name, "y"), f.Rename("never", name)) }),
	"FS.WriteFile": onFile(func(f *files.FS, name string) error { return f.WriteFile(name, []byte("x"), 0o600) }),
	"FS.Stat": onFile(func(f *files.FS, name string) error {
		_, err := f.Stat(name)
		return err
	}),
	"FS.Sub": onFile(func(f *files.FS, name string) error {
		_, err := f.Sub(name)
		return err
	}),
	"FS.Watch": onFile(func(f *files.FS, name string) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		for _, err := range f.Watch(ctx, name) {
			return err
		}
		return nil
	}),
	"snapshots.List": func(ctx context.Context, on *trial, text string) (err error) {
		for _, filter := range []snapshots.Filter{{Repository: text}, {UserID: text}, {TaskID: text}} {
			for _, failed := range snapshots.List(ctx, on.store, filter) {
				err = both(err, failed)
			}
		}
		return err
	},
	"snapshots.Find": func(ctx context.Context, on *trial, text string) error {
		_, err := snapshots.Find(ctx, on.store, text)
		_, other := snapshots.Find(ctx, on.store, strings.Repeat("a", 26)+"."+text)
		return both(err, other)
	},
	"snapshots.Remove": func(ctx context.Context, on *trial, text string) error {
		return both(snapshots.Remove(ctx, on.store, text), snapshots.Remove(ctx, on.store, strings.Repeat("a", 26)+"."+text))
	},
}

func onFile(call func(f *files.FS, name string) error) func(context.Context, *trial, string) error {
	return func(ctx context.Context, on *trial, text string) error {
		return both(call(on.s.FS(ctx), text), call(on.s.FS(ctx), "never/"+text))
	}
}

func closed(c io.Closer, err error) error {
	if err == nil {
		err = c.Close()
	}
	return err
}

// twoErrors has the texts of both one after the other, because errors.Join makes a second line.
type twoErrors struct{ one, other error }

func (e twoErrors) Error() string { return e.one.Error() + " and " + e.other.Error() }

func both(one, other error) error {
	switch {
	case one == nil:
		return other
	case other == nil:
		return one
	}
	return twoErrors{one, other}
}

// TestTextsOfAllCalls tries dangerous texts in the calls that take no request. Each call succeeds, or its error is one line.
func TestTextsOfAllCalls(t *testing.T) {
	try(t, slices.Sorted(maps.Keys(calls)), texts.Evil)
}

// FuzzCalls looks for more such texts.
func FuzzCalls(f *testing.F) {
	for name := range calls {
		for _, text := range texts.Evil {
			f.Add(name, text)
		}
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		if calls[name] != nil {
			try(t, []string{name}, []string{text})
		}
	})
}

// try makes calls with texts in a pool.
func try(t *testing.T, names, all []string) {
	store := fake.NewSnapshots(fake.SnapshotOptions{})
	setup := world.Setup{Config: berth.Config{Snapshots: store, Warm: berth.Warm{Containers: 1}}}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		on := &trial{World: w, s: w.Create("t", world.RepoA), store: store}
		for _, name := range names {
			for _, text := range all {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if err := calls[name](ctx, on, text); err != nil && (!texts.IsLine(err.Error()) || len(err.Error()) > 128<<10) {
					t.Errorf("%s(%q): %q", name, text, err)
				}
				cancel()
			}
		}
		texts.Check(t, w)
		if on.s.Err() != nil {
			t.Errorf("the session has ended: %v", on.s.Err())
		}
	})
}

// TestEveryCallIsTried: a new method that takes text must join calls.
func TestEveryCallIsTried(t *testing.T) {
	without := []string{
		"Provider.CreateSession", // FuzzSessionRequest
		"Console.Image",          // takes what was parsed
	}
	for _, of := range []reflect.Type{
		reflect.TypeFor[*berth.Provider](), reflect.TypeFor[*berth.Session](), reflect.TypeFor[berth.Console](), reflect.TypeFor[*files.FS](),
	} {
		for method := range of.Methods() {
			name := strings.TrimPrefix(fmt.Sprint(of)[strings.LastIndex(fmt.Sprint(of), ".")+1:], "*") + "." + method.Name
			takes := false
			for i := 1; i < method.Type.NumIn(); i++ {
				takes = takes || hasText(method.Type.In(i))
			}
			if tried := calls[name] != nil || slices.Contains(without, name); takes && !tried {
				t.Errorf("%s is not tried", name)
			}
		}
	}
}

// hasText reports whether values of a type hold text of a caller.
func hasText(of reflect.Type) bool {
	switch of.Kind() {
	case reflect.String:
		return true
	case reflect.Slice, reflect.Map:
		return hasText(of.Elem())
	case reflect.Struct:
		for field := range of.Fields() {
			if field.IsExported() && hasText(field.Type) {
				return true
			}
		}
	}
	return false
}

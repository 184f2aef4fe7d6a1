package files_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/files"
)

// idle is after how long a session expires. The lease lasts a tenth longer, and a use counts for half a minute.
const idle = 4 * time.Minute

// inSession runs a test with a session, in virtual time.
func inSession(t *testing.T, test func(t *testing.T, p *berth.Provider, s *berth.Session)) {
	synctest.Test(t, func(t *testing.T) {
		p, err := fake.NewProvider(fake.Options{Instant: true, Config: berth.Config{SessionIdleTimeout: idle}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		s, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "u", Repository: "https://example.com/a/b"})
		if err != nil {
			t.Fatal(err)
		}
		test(t, p, s)
	})
}

// lives checks whether a session has ended a while from now.
func lives(t *testing.T, s *berth.Session, d time.Duration, want bool) {
	t.Helper()
	time.Sleep(d)
	select {
	case <-s.Done():
		if want {
			t.Fatalf("the session has ended: %v", s.Err())
		}
	default:
		if !want {
			t.Fatal("the session lives")
		}
	}
}

// TestAUseRenewsTheLease: a use counts once, and what is not used any more keeps no session.
func TestAUseRenewsTheLease(t *testing.T) {
	inSession(t, func(t *testing.T, p *berth.Provider, s *berth.Session) {
		fsys := s.FS(context.Background())
		for range 2 {
			lives(t, s, idle*9/10, true)
			if err := fsys.WriteFile("f", []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, err := range s.Commands(t.Context()) {
			t.Errorf("the session has a command; %v", err)
		}
		lives(t, s, idle*9/10, true)
		lives(t, s, idle*6/10, false)
		if _, err := fsys.ReadFile("f"); !errors.Is(err, berth.ErrExpired) {
			t.Errorf("then ReadFile returned %v", err)
		}
	})
}

// TestWhatIsOpenKeepsTheSession: open files, archives and watches do, until they are closed or their context ends.
func TestWhatIsOpenKeepsTheSession(t *testing.T) {
	for name, open := range map[string]func(ctx context.Context, fsys *files.FS) (end func(), err error){
		"a file": func(ctx context.Context, fsys *files.FS) (func(), error) {
			f, err := fsys.Create("f")
			return func() { f.Close() }, err
		},
		"an archive": func(ctx context.Context, fsys *files.FS) (func(), error) {
			big := make([]byte, 3<<20)
			if err := fsys.WriteFile("big", big, 0o644); err != nil {
				return nil, err
			}
			r, err := fsys.CopyOut("big")
			if err == nil {
				_, err = r.Read(big[:1])
			}
			return func() { r.Close() }, err
		},
		"a watch": func(ctx context.Context, fsys *files.FS) (func(), error) {
			ctx, cancel := context.WithCancel(ctx)
			ended := make(chan struct{})
			watch := fsys.Watch(ctx, ".")
			go func() {
				for range watch {
				}
				close(ended)
			}()
			return func() { cancel(); <-ended }, nil
		},
		"a file whose context ends": nil,
	} {
		t.Run(name, func(t *testing.T) {
			inSession(t, func(t *testing.T, p *berth.Provider, s *berth.Session) {
				ctx, cancel := context.WithCancel(context.Background())
				end := cancel
				if open == nil {
					if _, err := s.FS(ctx).Create("f"); err != nil {
						t.Fatal(err)
					}
				} else {
					var err error
					if end, err = open(ctx, s.FS(ctx)); err != nil {
						t.Fatal(err)
					}
				}
				lives(t, s, 3*idle, true)
				end()
				lives(t, s, idle*9/10, true)
				lives(t, s, idle*6/10, false)
				cancel()
			})
		})
	}
}

// TestTheProviderIsClosed: what is under way ends, and says why.
func TestTheProviderIsClosed(t *testing.T) {
	inSession(t, func(t *testing.T, p *berth.Provider, s *berth.Session) {
		fsys := s.FS(context.Background())
		f, err := fsys.Create("f")
		if err != nil {
			t.Fatal(err)
		}
		watched := make(chan error)
		watch := fsys.Watch(context.Background(), ".")
		go func() {
			var last error
			for _, last = range watch {
			}
			watched <- last
		}()
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		_, read := io.ReadAll(f)
		_, stat := fsys.Stat("f")
		for what, err := range map[string]error{"Watch": <-watched, "Read": read, "Stat": stat} {
			if !errors.Is(err, berth.ErrClosed) {
				t.Errorf("%s returned %v", what, err)
			}
		}
	})
}

// TestTheContextBounds: the cause of a context is the error of what it ends, and of what begins later.
func TestTheContextBounds(t *testing.T) {
	inSession(t, func(t *testing.T, p *berth.Provider, s *berth.Session) {
		ctx, cancel := context.WithCancelCause(context.Background())
		fsys := s.FS(ctx)
		f, err := fsys.Create("f")
		if err != nil {
			t.Fatal(err)
		}
		why := errors.New("enough")
		cancel(why)
		_, written := f.Write([]byte("x"))
		_, stat := fsys.Stat("f")
		for what, err := range map[string]error{"Write": written, "Stat": stat, "Close": f.Close()} {
			if !errors.Is(err, why) {
				t.Errorf("%s returned %v", what, err)
			}
		}
	})
}

package room

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// stage is an Opener whose rooms are processes that wait, and whose inits are goroutines of the test.
type stage struct {
	t       *testing.T
	mu      sync.Mutex
	opened  []Spec
	taken   []Spec
	closed  []string
	inits   []*exec.Cmd
	failing error // of Take
}

func (s *stage) Open(_ context.Context, spec Spec) (*os.File, int, error) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	s.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	theirs, err := newConn(os.NewFile(uintptr(ends[1]), "init"))
	if err != nil {
		return nil, 0, err
	}
	go func() {
		defer theirs.Close()
		var o order
		for {
			if _, err := theirs.read(&o); err != nil {
				return
			}
			theirs.write(report{Ready: true})
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened, s.inits = append(s.opened, spec), append(s.inits, cmd)
	return os.NewFile(uintptr(ends[0]), "control"), cmd.Process.Pid, nil
}

func (s *stage) Take(_ context.Context, spec Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = append(s.taken, spec)
	return s.failing
}

func (s *stage) Close(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = append(s.closed, id)
	return nil
}

func TestASpareRoomIsTakenOnce(t *testing.T) {
	session := Spec{ID: "s", UID: 10001, Dir: "/sessions/s", SessionsDir: "/sessions"}
	for name, c := range map[string]struct {
		refuse error // of the one that takes it
		ends   bool  // the init, before
		first  bool  // whether the first session gets it
	}{
		"lives":   {nil, false, true},
		"refused": {errors.New("the warden was started anew"), false, false},
		"ended":   {nil, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			st := &stage{t: t, failing: c.refuse}
			s := NewSpares(st, Spec{SessionsDir: "/sessions"}, Settings{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
			if r, _ := s.take(t.Context(), session); r != nil {
				t.Fatal("there is one before the first refill")
			}
			s.Refill()
			s.Refill() // while the first goes on: there is one at a time
			if c.ends {
				<-s.idle()
				st.inits[0].Process.Kill()
				st.inits[0].Wait()
				<-s.room.Done()
			}
			r, id := s.take(t.Context(), session) // waits for it
			if (r != nil) != c.first {
				t.Fatalf("the first session gets %v", r)
			}
			if again, _ := s.take(t.Context(), session); again != nil {
				t.Error("the second session gets it, too")
			}
			if len(st.opened) != 1 || !st.opened[0].Spare || st.opened[0].Dir != "" {
				t.Errorf("opened %+v", st.opened)
			}
			if r == nil {
				return
			}
			if got := st.taken; len(got) != 1 || got[0].ID != id || got[0].Dir != session.Dir || got[0].Spare {
				t.Errorf("taken as %+v", got)
			}
			st.inits[0].Process.Kill()
			st.inits[0].Wait()
			<-r.Done()
		})
	}
}

// idle returns a channel that is closed when no room is being opened.
func (s *Spares) idle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening != nil {
		return s.opening
	}
	none := make(chan struct{})
	close(none)
	return none
}

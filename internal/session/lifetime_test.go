package session_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
)

// TestMaxLifetime: a session that is in use ends all the same, also when the planner has changed, and steps of wall clocks do not matter.
func TestMaxLifetime(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{SessionIdleTimeout: time.Minute}}, func(t *testing.T, w *world.World) {
		r := world.Request("t", world.RepoA)
		r.MaxLifetime = time.Hour
		s := world.Create(t, w.Provider, r)
		forever := w.Create("forever", world.RepoA)
		begun := time.Now()
		keep := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(30 * time.Second) {
				_, _ = s.KeepAlive(t.Context()), forever.KeepAlive(t.Context())
			}
		}
		keep(30 * time.Minute)
		if info, err := s.Refresh(t.Context()); err != nil || time.Since(info.LastActivity) > 40*time.Second {
			t.Errorf("%v, %v", info.LastActivity, err)
		}
		next := w.NewProvider()
		w.Close()
		w.Provider = next
		s, forever = world.Get(t, next, s.ID()), world.Get(t, next, forever.ID())
		keep(27 * time.Minute)
		select {
		case <-s.Done():
			t.Fatalf("it ended after %v: %v", time.Since(begun), s.Err())
		default:
		}
		keep(12 * time.Minute)
		if err := s.Err(); !errors.Is(err, berth.ErrExpired) || !strings.Contains(err.Error(), "MaxLifetime") {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		if forever.Err() != nil {
			t.Error(forever.Err())
		}
	})
}

// TestMaxLifetimeInTime: a session ends soon after its MaxLifetime, whenever in the rounds of the planner it was created.
func TestMaxLifetimeInTime(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		type started struct {
			*berth.Session
			at time.Time
		}
		var all []started
		for i := range 12 {
			r := world.Request(fmt.Sprint("t", i), world.RepoA)
			r.MaxLifetime = 12 * time.Second
			all = append(all, started{world.Create(t, w.Provider, r), time.Now()})
			time.Sleep(970 * time.Millisecond)
		}
		for _, s := range all {
			<-s.Done()
			if took := time.Since(s.at); took < 12*time.Second || took > 24*time.Second {
				t.Errorf("%s ended after %v", s.Info().TaskID, took)
			}
		}
	})
}

package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

func TestRetry(t *testing.T) {
	busy := &git.Error{Op: "clone", Message: "fatal: unable to access 'https://host.xz/': The requested URL returned error: 503"}
	refused := &git.Error{Op: "clone", Message: "fatal: unable to access 'https://host.xz/': The requested URL returned error: 403"}
	for name, c := range map[string]struct {
		fails []error       // what the tries return; then they succeed
		each  time.Duration // that a try takes
		tries int
		took  time.Duration
		err   error // nil, or what the last one returned
	}{
		"it succeeds":                   {tries: 1},
		"it is refused":                 {fails: []error{refused}, tries: 1, err: refused},
		"it fails once":                 {fails: []error{busy}, tries: 2, took: time.Second},
		"it fails, and is refused":      {fails: []error{busy, busy, refused}, tries: 3, took: 3 * time.Second, err: refused},
		"it fails four times":           {fails: []error{busy, busy, busy, busy}, tries: 5, took: 15 * time.Second},
		"it fails always":               {fails: []error{busy, busy, busy, busy, busy, busy}, tries: 5, took: 15 * time.Second, err: busy},
		"it fails slowly":               {fails: []error{busy, busy, busy}, each: 20 * time.Second, tries: 2, took: 41 * time.Second, err: busy},
		"it fails very slowly":          {fails: []error{busy}, each: time.Minute, tries: 1, took: time.Minute, err: busy},
		"it fails, and not as git does": {fails: []error{errors.New("503")}, tries: 1, err: errors.New("503")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &Mirror{Config: Config{Log: slog.New(slog.DiscardHandler)}}
				tries, told := 0, 0
				begun := time.Now()
				err := m.retry(t.Context(), func(p wire.Progress) {
					told++
					if !strings.Contains(p.Phase, "trying again") || p.Percent != -1 {
						t.Errorf("progress %+v", p)
					}
				}, func() error {
					time.Sleep(c.each)
					if tries++; tries <= len(c.fails) {
						return c.fails[tries-1]
					}
					return nil
				})
				if tries != c.tries || told != c.tries-1 || time.Since(begun) != c.took {
					t.Errorf("%d tries, of which it told %d, in %v", tries, told, time.Since(begun))
				}
				if (err == nil) != (c.err == nil) || err != nil && !strings.Contains(err.Error(), c.err.Error()) {
					t.Errorf("it returned %v", err)
				}
				if failed, ok := errors.AsType[*git.Error](err); ok && strings.HasSuffix(failed.Message, fmt.Sprintf("(tried %d times)", tries)) != (tries > 1) {
					t.Errorf("after %d tries it says %v", tries, err)
				}
			})
		})
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Mirror{Config: Config{Log: slog.New(slog.DiscardHandler)}}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		begun := time.Now()
		err := m.retry(ctx, func(wire.Progress) {}, func() error { return &git.Error{Message: "Connection reset by peer"} })
		if err == nil || time.Since(begun) != 1500*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

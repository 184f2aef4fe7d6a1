package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneAtATimePerSessionAndUID lets who comes late to close an old session wait for the new one that has its uid.
func TestOneAtATimePerSessionAndUID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ss := &sessions{byID: make(map[string]*session), busy: make(map[any]chan struct{})}
		acquire := func(id string, uid int) (func(), error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return ss.acquire(ctx, id, uid)
		}
		release, err := acquire("new", 10001)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			id   string
			uid  int
			want error
		}{
			{"new", 10002, context.DeadlineExceeded},
			{"old", 10001, context.DeadlineExceeded},
			{"other", 10002, nil},
			{"new", 10001, context.DeadlineExceeded},
		} {
			again, err := acquire(test.id, test.uid)
			if !errors.Is(err, test.want) {
				t.Errorf("%s with uid %d: %v, want %v", test.id, test.uid, err, test.want)
			}
			if err == nil {
				again()
			}
		}
		release()
		if release, err = acquire("old", 10001); err != nil {
			t.Fatal(err)
		}
		release()
		if len(ss.busy) != 0 {
			t.Errorf("%d are held at the end", len(ss.busy))
		}
	})
}

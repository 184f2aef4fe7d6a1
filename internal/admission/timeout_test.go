package admission_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/pool"
)

// TestQueueTimeoutCountsAllThatATaskHasWaited: a task that loses its place before it is active waits again, for the
// rest of its QueueTimeout. Time outside the queue does not count.
func TestQueueTimeoutCountsAllThatATaskHasWaited(t *testing.T) {
	const most = 2 * time.Minute
	world.Run(t, world.Setup{Config: berth.Config{QueueTimeout: most}}, func(t *testing.T, w *world.World) {
		w.Cloud.SetCapacity(0)
		w.Engine.Hang(fake.Open)
		c := world.Creating(t.Context(), w.Provider, world.Request("t", world.RepoA))
		world.After(time.Minute)
		w.Cloud.SetCapacity(1)
		world.After(time.Minute)
		w.Pending(c, "its checkout hangs")
		w.Cloud.SetCapacity(0)
		w.Cloud.Vanish(w.InstanceRecords()[0].ID)
		r := <-c
		end := time.Now()
		if !errors.Is(r.Err, berth.ErrNoCapacity) {
			t.Fatal(r.Err)
		}
		var queued []time.Time
		var waits []time.Duration
		for _, e := range w.Events(berth.EventSessionQueued, berth.EventSessionPlaced) {
			if e.Type == berth.EventSessionQueued {
				queued = append(queued, e.Time)
			} else {
				waits = append(waits, e.Time.Sub(queued[len(queued)-1]))
			}
		}
		if len(queued) != 2 || len(waits) != 1 || waits[0] < time.Minute {
			t.Fatalf("it was queued at %v, and waited for %v", queued, waits)
		}
		if total := waits[0] + end.Sub(queued[1]); total != most {
			t.Errorf("it waited for %v and %v, %v of %v", waits[0], end.Sub(queued[1]), total, most)
		}
		w.Engine.Heal()
		w.Empty()
	})
}

// TestAWaitThatEndsSaysWhyThereWasNoSlot: the error says why, whether the time-out or the context ended the wait.
func TestAWaitThatEndsSaysWhyThereWasNoSlot(t *testing.T) {
	const minute = time.Minute
	errOwn := errors.New("the host's own reason")
	type ending struct {
		name string
		end  func(t *testing.T, w *world.World, r berth.SessionRequest) error // after a minute
		want error                                                            // what ended it; nil = QueueTimeout
	}
	endings := []ending{
		{"deadline", func(t *testing.T, w *world.World, r berth.SessionRequest) error {
			ctx, cancel := context.WithTimeout(t.Context(), minute)
			defer cancel()
			_, err := w.CreateSession(ctx, r)
			return err
		}, context.DeadlineExceeded},
		{"cancel", func(t *testing.T, w *world.World, r berth.SessionRequest) error {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer time.AfterFunc(minute, func() { cancel(errOwn) }).Stop()
			_, err := w.CreateSession(ctx, r)
			return err
		}, errOwn},
		{"Close", func(t *testing.T, w *world.World, r berth.SessionRequest) error {
			defer time.AfterFunc(minute, func() { w.Close() }).Stop()
			_, err := w.CreateSession(t.Context(), r)
			return err
		}, berth.ErrClosed},
		{"a second call", func(t *testing.T, w *world.World, r berth.SessionRequest) error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*minute)
			defer cancel()
			first := world.Creating(ctx, w.Provider, r)
			synctest.Wait()
			ctx, cancel = context.WithTimeout(t.Context(), minute)
			defer cancel()
			_, err := w.CreateSession(ctx, r)
			<-first
			return err
		}, context.DeadlineExceeded},
		{"QueueTimeout", func(t *testing.T, w *world.World, r berth.SessionRequest) error {
			w.Config.QueueTimeout = minute
			_, err := w.NewProvider().CreateSession(t.Context(), r)
			return err
		}, nil},
	}
	one := berth.Config{MaxInstances: 1, MaxTasksPerInstance: 1}
	for _, why := range []struct {
		name  string
		cfg   berth.Config
		make  func(w *world.World)
		lacks bool     // there is no room
		says  []string // in the error, with the time
	}{
		{"no capacity", one, func(w *world.World) { w.Cloud.SetCapacity(0) }, true,
			[]string{"at place 1 of 1", "the last launch failed", "capacity"}},
		{"quota", one, func(w *world.World) { w.Cloud.FailLaunches(1e6, fmt.Errorf("%w: 5 vCPUs", pool.ErrQuota)) }, true,
			[]string{"at place 1 of 1", "the last launch failed", "5 vCPUs"}},
		{"full", one, func(w *world.World) { w.Create("holds-it", world.RepoB) }, true,
			[]string{"at place 1 of 1", "up to 1 instances of 1 slots"}},
		{"the container's instance is full", berth.Config{MaxInstances: 5, MaxTasksPerInstance: 1},
			func(w *world.World) { w.Create("holds-it", world.RepoA) }, true, []string{"MaxContainersPerRepository"}},
		{"an instance boots", one, func(w *world.World) { w.Engine.Hang(fake.Probe) }, false, []string{"1 of them still starting"}},
	} {
		for _, end := range endings {
			t.Run(why.name+"/"+end.name, func(t *testing.T) {
				world.Run(t, world.Setup{Config: why.cfg}, func(t *testing.T, w *world.World) {
					why.make(w)
					begun := time.Now()
					err := end.end(t, w, world.Request("t", world.RepoA))
					if took := time.Since(begun); took < minute || took > 3*minute {
						t.Errorf("it took %v", took)
					}
					t.Log(err)
					if end.want != nil && !errors.Is(err, end.want) {
						t.Errorf("%v is not %v", err, end.want)
					}
					if lacks := errors.Is(err, berth.ErrNoCapacity); lacks != (why.lacks || end.want == nil) {
						t.Errorf("ErrNoCapacity is %t", lacks)
					}
					for _, text := range append(why.says, "1m0s") {
						if !strings.Contains(err.Error(), text) {
							t.Errorf("the error does not say %q", text)
						}
					}
					w.Engine.Heal()
				})
			})
		}
	}
}

// TestWhyThereIsNoCapacityIsSaid: the error and an event say why there is no instance.
func TestWhyThereIsNoCapacityIsSaid(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{QueueTimeout: time.Minute}}, func(t *testing.T, w *world.World) {
		w.Cloud.FailLaunches(1e6, fmt.Errorf("%w: the account is suspended", pool.ErrPermanent))
		_, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA))
		says(w, err, berth.ErrNoCapacity, "the account is suspended")
		told := false
		for _, e := range w.Events() {
			told = told || e.Type == berth.EventInstanceChange && e.Err != nil && e.Message == "gone"
		}
		if !told {
			t.Error("no event says why")
		}
		w.Cloud.Heal()
		time.Sleep(10 * time.Minute)
		w.Create("t", world.RepoA)
	})
}

// says fails the test unless an error is kind and contains text.
func says(w *world.World, err, kind error, text string) {
	w.T.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		w.T.Errorf("got %v; want %v with %q", err, kind, text)
	}
}

package berth_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

// TestProcessThatIsCutOffFromTheStoreIsSuspended: the others take it for dead, so it ends the creations under way and
// begins no others, and says so in a bounded time. What it was creating ends as abandoned.
func TestProcessThatIsCutOffFromTheStoreIsSuspended(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		reach := &cutStore{Store: w.store}
		w.store = reach
		cut := w.provider()
		w.store = reach.Store
		w.create("holds", repoA)
		w.engine.Next(fake.Open, 1, fake.Fault{Delay: time.Hour})
		underWay := w.creating(t.Context(), cut, asking("t", repoA))
		time.Sleep(time.Second)
		var id string
		for s, err := range w.ListSessions(t.Context(), berth.SessionFilter{TaskID: "t"}) {
			if err != nil {
				t.Fatal(err)
			}
			id = s.ID()
		}
		abandoned := mustGet(t, w, id)
		reach.cut.Store(true)
		if r := <-underWay; !errors.Is(r.err, berth.ErrSuspended) {
			t.Errorf("the creation under way: %v; want ErrSuspended", r.err)
		}
		begun := time.Now()
		_, err := cut.CreateSession(t.Context(), asking("u", repoA))
		if !errors.Is(err, berth.ErrSuspended) {
			t.Errorf("a creation that begins now: %v; want ErrSuspended", err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("it was refused after %v", took)
		}
		<-abandoned.Done()
		if !errors.Is(abandoned.Err(), berth.ErrAbandoned) {
			t.Errorf("what the others say of it: %v; want ErrAbandoned", abandoned.Err())
		}
		reach.cut.Store(false)
		time.Sleep(20 * time.Second)
		if _, err := cut.CreateSession(t.Context(), asking("u", repoA)); err != nil {
			t.Errorf("when the store answers again: %v", err)
		}
	})
}

// TestWhyThereIsNoCapacityIsSaid: whoever waits learns why no instance comes, also from the events.
func TestWhyThereIsNoCapacityIsSaid(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{QueueTimeout: time.Minute}}, func(t *testing.T, w *world) {
		w.cloud.FailLaunches(1e6, fmt.Errorf("%w: the account is suspended", pool.ErrPermanent))
		_, err := w.CreateSession(t.Context(), asking("t", repoA))
		w.says(err, berth.ErrNoCapacity, "the account is suspended")
		told := false
		for _, e := range w.seen() {
			told = told || e.Type == berth.EventInstanceChange && e.Err != nil && e.Message == "gone"
		}
		if !told {
			t.Error("no event says why")
		}
		w.cloud.Heal()
		time.Sleep(10 * time.Minute)
		w.create("t", repoA)
	})
}

// says fails the test unless an error is of a kind and holds a text.
func (w *world) says(err, kind error, text string) {
	w.t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		w.t.Errorf("got %v; want %v with %q", err, kind, text)
	}
}

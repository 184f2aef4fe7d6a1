package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/orchestrator"
)

const grace = 24 * time.Hour

var (
	mine  = orchestrator.SnapshotName{Kind: "layer", Key: "mine"}
	other = orchestrator.SnapshotName{Kind: "layer", Key: "other"}
)

// world is a store, with what can happen to it. Its methods fail the test for any error.
type world struct {
	*testing.T
	*Store
}

func newWorld(t *testing.T) world { return world{t, New(newMemory(), grace)} }

func (w world) put(name orchestrator.SnapshotName) {
	w.Helper()
	if _, err := w.Put(w.Context(), name, strings.NewReader("content")); err != nil {
		w.Fatalf("Put %s: %v", name, err)
	}
}

func (w world) delete(name orchestrator.SnapshotName) {
	w.Helper()
	if err := w.Delete(w.Context(), name); err != nil {
		w.Fatal(err)
	}
}

func (w world) collects() {
	w.Helper()
	if _, err := w.Collect(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// intact fails the test unless a name can be read, now and after any number of collections.
func (w world) intact(name orchestrator.SnapshotName, what string) {
	w.Helper()
	for range 4 {
		r, _, err := w.Open(w.Context(), name)
		if err != nil {
			w.Fatalf("%s: Open: %v", what, err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != "content" {
			w.Fatalf("%s: %q, %v", what, got, err)
		}
		w.collects()
		time.Sleep(grace * 2 / 3)
	}
}

// pasts are what may have happened to the content before.
var pasts = map[string]func(w world){
	"it is new":                func(world) {},
	"another name has it":      func(w world) { w.put(other) },
	"it has lost its name":     func(w world) { w.put(other); w.delete(other) },
	"it is marked":             func(w world) { w.put(other); w.delete(other); w.collects() },
	"it is marked for 1/4":     func(w world) { w.put(other); w.delete(other); w.collects(); time.Sleep(grace / 4) },
	"it is marked for 3/4":     func(w world) { w.put(other); w.delete(other); w.collects(); time.Sleep(grace * 3 / 4) },
	"it is to be collected":    func(w world) { w.put(other); w.delete(other); w.collects(); time.Sleep(grace) },
	"it has been collected":    func(w world) { w.put(other); w.delete(other); w.collects(); time.Sleep(grace); w.collects() },
	"it was marked and is not": func(w world) { w.put(other); w.delete(other); w.collects(); w.put(other); w.collects() },
}

// events are what may happen between two calls of one actor.
var events = map[string]func(w world){
	"a collection":                            func(w world) { w.collects() },
	"the other name goes":                     func(w world) { w.delete(other) },
	"the other name goes, and a collection":   func(w world) { w.delete(other); w.collects() },
	"a short wait between two collections":    func(w world) { w.collects(); time.Sleep(grace / 4); w.collects() },
	"a long wait between two collections":     func(w world) { w.collects(); time.Sleep(grace * 3 / 4); w.collects() },
	"a very long wait between collections":    func(w world) { w.collects(); time.Sleep(grace); w.collects(); time.Sleep(grace); w.collects() },
	"another upload":                          func(w world) { w.put(other) },
	"another upload, and it goes":             func(w world) { w.put(other); w.delete(other); w.collects() },
	"a collection, and another upload":        func(w world) { w.collects(); w.put(other) },
	"a wait, a collection and another upload": func(w world) { time.Sleep(grace); w.collects(); w.put(other) },
}

// interleave runs an actor once for each past, event and call of the actor, and lets the event happen before that call.
func interleave(t *testing.T, act func(w world, ctx context.Context) error, check func(w world, err error, what string)) {
	runs, failed := 0, 0
	for past, prepare := range pasts {
		for event, happen := range events {
			for at := 1; ; at++ {
				calls := 0
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					prepare(w)
					err := act(w, acting(t.Context(), func() {
						if calls++; calls == at {
							happen(w)
						}
					}))
					if err != nil {
						failed++
					}
					check(w, err, fmt.Sprintf("%s; %s before call %d", past, event, at))
				})
				if calls < at {
					break // there is no such call
				}
				runs++
			}
		}
	}
	t.Logf("%d runs, of which the actor failed in %d", runs, failed)
	if runs < 300 {
		t.Errorf("only %d runs", runs)
	}
}

// TestAPutThatSucceedsIsNeverCollected: whatever happens while it is under way. It may fail, but only because it stood still for long.
func TestAPutThatSucceedsIsNeverCollected(t *testing.T) {
	interleave(t, func(w world, ctx context.Context) error {
		_, err := w.Put(ctx, mine, strings.NewReader("content"))
		return err
	}, func(w world, err error, what string) {
		if err == nil {
			w.intact(mine, what)
		} else if !errors.Is(err, errLate) {
			w.Errorf("%s: %v", what, err)
		} else {
			w.put(mine) // a repetition succeeds
			w.intact(mine, what)
		}
		if _, err := w.Stat(w.Context(), other); err == nil {
			w.intact(other, what)
		}
	})
}

// TestASlowCollectRemovesNothingThatIsNamed: a Collect that stands still anywhere leaves what was stored meanwhile.
func TestASlowCollectRemovesNothingThatIsNamed(t *testing.T) {
	interleave(t, func(w world, ctx context.Context) error {
		_, err := w.Collect(ctx)
		return err
	}, func(w world, err error, what string) {
		if err != nil {
			w.Errorf("%s: %v", what, err)
		}
		if _, err := w.Stat(w.Context(), other); err == nil {
			w.intact(other, what)
		}
		w.put(mine)
		w.intact(mine, what)
	})
}

// TestAPutAndACollectThatBothStandStill lets a Put stand still before each of its calls, while a Collect begins that stands still before each
// of its own until the Put has ended.
func TestAPutAndACollectThatBothStandStill(t *testing.T) {
	succeeded, late := 0, 0
	for _, wait := range []time.Duration{grace / 4, grace * 3 / 4, grace, 2 * grace} {
		for past, prepare := range pasts {
			for put, more := 1, true; more; put++ {
				for stop := 1; ; stop++ {
					puts, collects := 0, 0
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						prepare(w)
						release, ended := make(chan struct{}), make(chan error, 1)
						slow := acting(t.Context(), func() {
							if collects++; collects == stop {
								<-release
							}
						})
						_, err := w.Put(acting(t.Context(), func() {
							if puts++; puts == put {
								w.collects()
								time.Sleep(wait)
								go func() { _, err := w.Collect(slow); ended <- err }()
								synctest.Wait()
							}
						}), mine, strings.NewReader("content"))
						what := fmt.Sprintf("%s; the Put stands for %v before call %d, and the Collect before call %d", past, wait, put, stop)
						close(release)
						if puts >= put {
							if err := <-ended; err != nil {
								t.Errorf("%s: Collect: %v", what, err)
							}
						}
						switch {
						case err == nil:
							succeeded++
							w.intact(mine, what)
						case errors.Is(err, errLate):
							late++
						default:
							t.Errorf("%s: Put: %v", what, err)
						}
					})
					if more = puts >= put; collects < stop {
						break // there is no such call
					}
				}
			}
		}
	}
	t.Logf("%d Puts succeeded, %d were late", succeeded, late)
	if succeeded < 500 || late < 50 {
		t.Errorf("only %d Puts succeeded, and %d were late", succeeded, late)
	}
}

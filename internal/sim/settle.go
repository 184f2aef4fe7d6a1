package sim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store"
)

// settleTime is how long the world may take to come to rest once all faults are healed and all tasks are over. The
// longest wait is for containers and machines that nobody knows: their grace time is five minutes.
const settleTime = 20 * time.Minute

// settle heals everything, and waits until nothing is left that should not be.
func (w *world) settle() {
	w.meddler.heal()
	w.cloud.Heal()
	w.engine.Heal()
	w.allAwake()
	deadline := time.Now().Add(settleTime)
	var left []string
	for time.Now().Before(deadline) {
		time.Sleep(10 * time.Second)
		if left = w.leftovers(); len(left) == 0 {
			return
		}
	}
	w.rules.broken("after %v at rest: %s", settleTime, strings.Join(left, "; "))
}

// leftovers returns what should not be there once all tasks are over.
func (w *world) leftovers() (left []string) {
	add := func(format string, args ...any) { left = append(left, fmt.Sprintf(format, args...)) }
	s := w.snapshot()
	for _, x := range s.Sessions {
		if x.State != store.SessionEnded {
			add("session %s of %s is %s, of %s", x.ID, x.TaskID, x.State, x.Owner)
		}
	}
	for _, c := range s.Containers {
		add("container %s is %s with %d sessions, of %s", c.Name, c.State, c.Sessions, c.Owner)
	}
	for _, c := range w.ours() {
		add("container %s is on its engine", c.ID)
	}
	least, spare := w.plan.config.MinInstances, w.plan.config.SpareSlots
	want := max(least, (spare+w.plan.config.MaxTasksPerInstance-1)/w.plan.config.MaxTasksPerInstance)
	for _, in := range s.Instances {
		if in.State != store.InstanceReady || len(s.Instances) != want {
			add("instance %s is %s, %s; %d are wanted", in.ID, in.State, in.Reason, want)
		}
	}
	if n := w.cloud.Alive(); n != want {
		add("%d machines cost money, not %d", n, want)
	}
	return left
}

// works checks that each repository can still be used, at each replica.
func (w *world) works() {
	for i := range w.plan.repos {
		err := w.surely(fmt.Sprint("works ", i), 5*time.Minute, func(ctx context.Context, r *replica) error {
			req := berth.SessionRequest{TaskID: fmt.Sprint("after-", i), UserID: "u", Repository: w.plan.spelling(i, "after")}
			s, err := r.CreateSession(ctx, req)
			if err == nil {
				err = s.Command(ctx, "work", "1s").Run()
			}
			if err == nil {
				err = r.TerminateSession(ctx, s.ID())
			}
			return err
		})
		if err != nil {
			w.rules.broken("repository %d cannot be used any more: %v", i, err)
		}
	}
}

// surely does something that must succeed now that all is healed: at the first try, or at the second when the one fault
// of a run of the sweep struck the first.
func (w *world) surely(what string, within time.Duration, do func(context.Context, *replica) error) error {
	for {
		w.allAwake()
		mayFail := w.meddler.mayStrike()
		ctx, cancel := context.WithTimeout(w.ctx, within)
		err := do(ctx, w.some(what))
		cancel()
		if err == nil || !mayFail || w.meddler.mayStrike() {
			return err
		}
	}
}

// destroy ends the pool and checks that nothing is left of it.
func (w *world) destroy() {
	err := w.surely("destroy", 30*time.Minute, func(ctx context.Context, r *replica) error { return r.Destroy(ctx) })
	if err != nil {
		w.rules.broken("Destroy: %v", err)
	}
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.revivals.Wait()
	begun := time.Now()
	for slot := range w.replicas {
		w.stop(slot, false)
	}
	w.closing.Wait()
	if took := time.Since(begun); took > time.Minute {
		w.rules.broken("Close took %v", took)
	}
	w.engine.Close()
	if n := len(w.ours()); n > 0 || w.cloud.Alive() > 0 {
		w.rules.broken("%d containers and %d machines are left after Destroy", n, w.cloud.Alive())
	}
	if strings.Contains(w.trace.log.String(), "used with another request") {
		w.rules.broken("a launch was repeated with another request")
	}
	if strings.Contains(w.trace.log.String(), secret) {
		w.rules.broken("the log holds a credential")
	}
}

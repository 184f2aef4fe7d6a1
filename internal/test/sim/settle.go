package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// settleTime is how long the world may take to come to rest after all faults are healed and all tasks are over. The
// longest wait is for unknown containers and machines, which have a grace time of five minutes.
const settleTime = 20 * time.Minute

// settle heals everything, and waits until leftovers returns nothing.
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

// leftovers lists the things that should be gone when all tasks are over.
func (w *world) leftovers() (left []string) {
	add := func(format string, args ...any) { left = append(left, fmt.Sprintf(format, args...)) }
	s := w.snapshot()
	for _, x := range s.Sessions {
		if x.State != store.SessionEnded {
			add("session %s of %s is %s, of %s", x.ID, x.TaskID, x.State, x.Owner)
		}
	}
	kept := w.keptWarm()
	for id, c := range s.Containers {
		if kept[id] != "" && c.State == store.ContainerReady {
			continue
		}
		add("container %s is %s with %d sessions, of %s", c.Name, c.State, c.Sessions, c.Owner)
	}
	for _, c := range w.ours() {
		if slices.Contains(slices.Collect(maps.Values(kept)), c.Name) {
			continue
		}
		add("container %s is on its engine", c.ID)
	}
	for _, r := range w.engine.Resources() {
		if r.Pool != otherPool && !r.InUse {
			add("%s %s is on its engine", r.Kind, r.ID)
		}
	}
	least, spare := w.plan.config.MinInstances, w.plan.config.SpareSlots
	want := max(least, (spare+w.plan.config.MaxTasksPerInstance-1)/w.plan.config.MaxTasksPerInstance)
	for _, in := range s.Instances {
		if in.State != store.InstanceReady || len(s.Instances) != want {
			add("instance %s is %s, %s; %d are wanted", in.ID, in.State, in.Reason, want)
		}
	}
	w.rules.checking.Lock()
	left = append(left, w.rules.bill.missing(w)...)
	w.rules.checking.Unlock()
	if n := w.cloud.Alive(); n != want {
		add("%d machines cost money, not %d", n, want)
	}
	return left
}

// keptWarm returns the names of the containers that the planner keeps up, by their IDs.
func (w *world) keptWarm() map[string]string {
	kept := make(map[string]string)
	err := w.store.View(context.Background(), func(v store.View) error {
		r, err := store.Find[*store.Warmth](v, store.WarmthKey())
		if err != nil || r == nil {
			return err
		}
		for _, x := range r.Wishes {
			if x.Learned && x.Container != "" {
				kept[x.Container] = x.Name
			}
		}
		return nil
	})
	if err != nil {
		w.rules.broken("the store cannot be read: %v", err)
	}
	return kept
}

// works checks that each repository can still be used at each replica.
func (w *world) works() {
	for i := range w.plan.repos {
		err := w.surely(fmt.Sprint("works ", i), 5*time.Minute, func(ctx context.Context, r *replica) error {
			req := berth.SessionRequest{TaskID: fmt.Sprint("after-", i), UserID: unlimited, Repository: w.plan.admitted(i, "after")}
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

// surely does something that must succeed after everything is healed: at the first try, or at the second if the only
// fault of a run of the sweep has struck the first.
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

// plantUnrecorded launches a machine of the pool without a record, as exists after a store was restored from a backup.
func (w *world) plantUnrecorded() {
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	var uid string
	err := w.store.View(ctx, func(v store.View) error {
		record, err := store.Get[*store.Pool](v, store.PoolKey())
		if err == nil {
			uid = record.UID
		}
		return err
	})
	spec := pool.Spec{PoolUID: uid, LaunchID: "unrecorded", Type: "t3.large"}
	var f pool.Frozen
	if err == nil {
		f, err = w.cloud.Prepare(ctx, spec)
	}
	w.meddler.lied(spec.LaunchID) // the pool has not launched this one
	if err == nil {
		_, err = w.cloud.Launch(ctx, spec.LaunchID, f)
	}
	if err != nil {
		w.rules.broken("cannot plant a machine: %v", err)
	}
	time.Sleep(10 * time.Second) // until the list shows it
}

// destroy ends the pool and checks that nothing is left of it.
func (w *world) destroy() {
	w.plantUnrecorded()
	err := w.surely("destroy", 30*time.Minute, func(ctx context.Context, r *replica) error { return r.Destroy(ctx) })
	if err != nil {
		w.rules.broken("Destroy: %v", err)
	}
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.revivals.Wait()
	begun := time.Now()
	if strings.Contains(fmt.Sprintf("%+v", w.engine.Containers()), secret) { // in a name, a key or a remote
		w.rules.broken("a container shows a secret")
	}
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
		w.rules.broken("the log holds a secret")
	}
	if w.trace.counts()[eventWithSecret] > 0 {
		w.rules.broken(eventWithSecret)
	}
}

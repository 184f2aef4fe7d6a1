package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

// chaos lets happen what happens by itself, now and then until ctx ends: replicas and containers die, machines vanish,
// networks fail.
func (w *world) chaos(ctx context.Context) {
	if len(w.plan.armed) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.plan.arrivals+3*time.Minute)
	defer cancel()
	defer w.fill()
	for round := 0; ctx.Err() == nil; round++ {
		at := fmt.Sprint(round)
		pause(ctx, w.plan.dice.upTo(20*time.Second, "chaos", at))
		if ctx.Err() != nil {
			return
		}
		for _, t := range troubles {
			if w.plan.armed[t] && w.plan.dice.chance(0.3, string(t), at) {
				w.befall(ctx, t, at)
			}
		}
	}
}

// befall lets a trouble happen, if there is something that it can happen to.
func (w *world) befall(ctx context.Context, t trouble, at string) {
	happens := true
	d := w.plan.dice
	switch t {
	case crash, closing, storeCut, paused, clocks:
		happens = w.befallReplica(ctx, t, at)
	case killed, removed, lacking:
		happens = w.befallContainer(t, at)
	case vanished, unreachable, ignored, advised, littered, roomless, operated:
		happens = w.befallMachine(ctx, t, at)
	case noCapacity:
		w.cloud.SetCapacity(d.between(0, 2, "capacity", at))
		w.actors.Go(func() {
			pause(ctx, w.while(at))
			w.cloud.SetCapacity(-1)
		})
	case refusing, silent:
		w.befallRemote(ctx, t, at)
	case flaky:
		repo := w.plan.spelling(d.between(0, w.plan.repos-1, "remote", at), "remote", at)
		w.engine.Flake(repo, 1, &agent.GitError{Op: "fetch", Message: passingWords})
	default:
		return // these strike at calls
	}
	if happens {
		w.trace.saw(string(t))
		w.trace.add("trouble: %s", t)
	}
}

// while is how long a trouble lasts.
func (w *world) while(at string) time.Duration {
	return w.plan.dice.upTo(90*time.Second, "while", at)
}

func (w *world) befallReplica(ctx context.Context, t trouble, at string) (happens bool) {
	d := w.plan.dice
	slot := d.between(0, len(w.replicas)-1, "slot", at)
	if t == crash || t == closing {
		w.stop(slot, t == crash)
		if len(w.replicas) == 1 || d.chance(0.7, "comes again", at) {
			pause(ctx, d.upTo(40*time.Second, "again", at))
			w.start(slot)
		}
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.replicas[slot]
	if r == nil {
		return false
	}
	switch t {
	case storeCut:
		w.cut[r.name] = time.Now().Add(w.while(at))
	case paused:
		w.asleep[r.name] = time.Now().Add(16*time.Second + w.while(at)/4)
	case clocks:
		w.clock[r.name] += []time.Duration{-2 * time.Hour, 2 * time.Hour}[d.between(0, 1, "set", at)]
	}
	return true
}

func (w *world) befallContainer(t trouble, at string) (happens bool) {
	d := w.plan.dice
	all := w.ours()
	if len(all) == 0 {
		return false
	}
	c := all[d.between(0, len(all)-1, "container", at)]
	dies := t != lacking || d.chance(0.3, "dies", at)
	for _, same := range all { // on all hosts
		if same.Name == c.Name && dies {
			w.rules.harm(same.ID)
		}
	}
	switch t {
	case killed:
		w.engine.KillContainer(c.Name)
	case removed:
		w.engine.RemoveContainer(c.Name)
	case lacking:
		w.rules.harm(lack + c.Name)
		for _, in := range c.Sessions {
			w.engine.OutOfMemory(c.Name, in.ID)
		}
		if dies {
			w.engine.DieOutOfMemory(c.Name)
		}
	}
	return true
}

func (w *world) befallMachine(ctx context.Context, t trouble, at string) (happens bool) {
	launch := w.machine(at)
	if launch == "" {
		return false
	}
	switch t {
	case vanished:
		w.rules.harm(launch)
		w.cloud.Vanish(launch)
	case unreachable:
		w.rules.harm(launch)
		w.engine.Unreachable(launch)
		w.actors.Go(func() {
			pause(ctx, w.while(at))
			w.engine.Reconnect(launch)
		})
	case ignored:
		w.cloud.IgnoreTerminate(launch, 1)
	case advised:
		w.cloud.Foretell(launch, pool.OutlookRebalance, "advice")
		w.actors.Go(func() {
			pause(ctx, w.while(at))
			if slices.Contains(w.running(), launch) {
				w.cloud.Foretell(launch, "", "")
			}
		})
	case roomless:
		w.engine.RefuseRooms(launch, "the sim says so")
		w.actors.Go(func() {
			pause(ctx, w.while(at))
			if slices.Contains(w.running(), launch) {
				w.engine.RefuseRooms(launch, "")
			}
		})
	case operated:
		w.actors.Go(func() { w.operate(launch, at) })
	case littered:
		uid := []string{w.snapshot().Pool.UID, "an earlier store's"}[w.plan.dice.between(0, 1, "uid", at)]
		w.engine.PlantResource(launch, ourPool, uid, fake.ResourceHelper)
		w.engine.PlantResource(launch, ourPool, uid, fake.ResourceWork)
	}
	return true
}

// operate is what an operator does with an instance: it is cordoned, and later uncordoned or drained. Any replica does that.
func (w *world) operate(launch, at string) {
	w.wish("cordon", at, func(ctx context.Context, c berth.Console) error { return c.Cordon(ctx, launch, "an operator says so") })
	pause(w.ctx, w.while(at))
	if w.plan.dice.chance(0.3, "drain", at) {
		w.wish("drain", at, func(ctx context.Context, c berth.Console) error { return c.Drain(ctx, launch, "an operator says so") })
	} else {
		w.wish("uncordon", at, func(ctx context.Context, c berth.Console) error { return c.Uncordon(ctx, launch) })
	}
}

// wish asks one replica after another until one has done it, or says that the instance is in no state for that.
func (w *world) wish(what, at string, do func(context.Context, berth.Console) error) {
	for try := 0; w.ctx.Err() == nil; try++ {
		ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
		err := do(ctx, w.some(what, at, fmt.Sprint(try)).Console())
		cancel()
		if err == nil || errors.Is(err, pool.ErrState) {
			w.trace.add("operator: %s: %v", what, err)
			return
		}
		pause(w.ctx, time.Second)
	}
}

// passingWords are git's when a remote fails for a moment.
const passingWords = "The requested URL returned error: 503"

// killAll kills all the pool's containers.
func (w *world) killAll() {
	for _, c := range w.ours() {
		w.rules.harm(c.ID)
		w.engine.KillContainer(c.Name)
	}
}

func (w *world) running() (launches []string) {
	for _, m := range w.cloud.Machines() {
		if m.State == pool.MachineRunning && !m.Foreign {
			launches = append(launches, m.LaunchID)
		}
	}
	return launches
}

// machine returns a machine that runs.
func (w *world) machine(at string) string {
	running := w.running()
	if len(running) == 0 {
		return ""
	}
	return running[w.plan.dice.between(0, len(running)-1, "machine", at)]
}

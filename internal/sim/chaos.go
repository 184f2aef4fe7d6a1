package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

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

func (w *world) befall(ctx context.Context, t trouble, at string) {
	d := w.plan.dice
	slot := d.between(0, len(w.replicas)-1, "slot", at)
	while := d.upTo(90*time.Second, "while", at)
	switch t {
	case crash, closing:
		w.stop(slot, t == crash)
		if len(w.replicas) == 1 || d.chance(0.7, "comes again", at) {
			pause(ctx, d.upTo(40*time.Second, "again", at))
			w.start(slot)
		}
	case storeCut:
		w.mu.Lock()
		if r := w.replicas[slot]; r != nil {
			w.cut[r.name] = time.Now().Add(while)
		}
		w.mu.Unlock()
	case paused:
		w.mu.Lock()
		r := w.replicas[slot]
		w.mu.Unlock()
		if r == nil {
			return
		}
		w.putToSleep(r.name, 16*time.Second+while/4)
	case killed, removed:
		all := w.ours()
		if len(all) == 0 {
			return
		}
		c := all[d.between(0, len(all)-1, "container", at)]
		for _, same := range all { // on all hosts
			if same.Name == c.Name {
				w.rules.harm(same.ID)
			}
		}
		if t == killed {
			w.engine.KillContainer(c.Name)
		} else {
			w.engine.RemoveContainer(c.Name)
		}
	case vanished, unreachable:
		launch := w.machine(at)
		if launch == "" {
			return
		}
		w.rules.harm(launch)
		if t == vanished {
			w.cloud.Vanish(launch)
			break
		}
		w.engine.Unreachable(launch)
		w.actors.Go(func() {
			pause(ctx, while)
			w.engine.Reconnect(launch)
		})
	case ignored:
		launch := w.machine(at)
		if launch == "" {
			return
		}
		w.cloud.IgnoreTerminate(launch, 1)
	case advised:
		launch := w.machine(at)
		if launch == "" {
			return
		}
		w.cloud.Foretell(launch, pool.OutlookRebalance, "advice")
		w.actors.Go(func() {
			pause(ctx, while)
			if slices.Contains(w.running(), launch) {
				w.cloud.Foretell(launch, "", "")
			}
		})
	case noCapacity:
		w.cloud.SetCapacity(d.between(0, 2, "capacity", at))
		w.actors.Go(func() {
			pause(ctx, while)
			w.cloud.SetCapacity(-1)
		})
	default:
		return // these strike at calls
	}
	w.trace.saw(string(t))
	w.trace.add("trouble: %s", t)
}

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

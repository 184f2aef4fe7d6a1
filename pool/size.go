package pool

import (
	"cmp"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// destroyed is why the instances of a pool are retired that is being destroyed.
const destroyed = "the pool is being destroyed"

// planSize decides how many instances to launch, to take back into use, to cordon and to retire. next holds what is
// decided already: those instances are left alone.
//
// Scaling up counts every slot that is or will be there, so that a launch under way is not asked for twice. Scaling
// down counts those that are there, by whole instances, and only what was not needed for all of IdleTimeout.
func planSize(s snapshot, cfg Config, next map[string]verb, now time.Time) []action {
	if s.pool.Draining {
		return drain(s, next)
	}
	if s.pool.Closed {
		return nil
	}
	var ready, all tally
	starting, failed := 0, false
	for _, in := range s.instances {
		leaves := in.Drain || next[in.ID] == doRetire || next[in.ID] == doLose
		switch in.State {
		case store.InstanceLaunching, store.InstanceBooting:
			starting++
			failed = failed || next[in.ID] == doRetire
			if !leaves {
				all.add(in)
			}
		case store.InstanceReady:
			if !leaves {
				all.add(in)
				ready.add(in)
			}
		}
	}
	want := wanted(s, cfg)
	acts := planCordoned(s, next, &all, want)
	for range launchRoom(s, cfg, starting, now) {
		if failed || !all.short(want) { // the pause begins when the failure is stored
			break
		}
		acts = append(acts, action{verb: doLaunch})
		all.slots += cfg.SlotsPerInstance
		all.instances++
	}
	return append(acts, planIdle(s, cfg, next, ready, want, now)...)
}

// tally counts instances and the free slots on them.
type tally struct{ instances, slots int }

func (t *tally) add(in *store.Instance) {
	t.instances++
	t.slots += max(in.Slots-in.Sessions, 0)
}

func (t tally) short(want tally) bool { return t.slots < want.slots || t.instances < want.instances }

// planCordoned takes cordoned instances back into use while all is short of what is wanted, which is cheaper than a
// launch, and retires the others.
func planCordoned(s snapshot, next map[string]verb, all *tally, want tally) []action {
	var acts []action
	for _, in := range s.instances {
		switch {
		case in.State != store.InstanceCordoned || next[in.ID] != "":
		case !in.Drain && all.short(want):
			acts = append(acts, action{verb: doUncordon, instance: in.ID})
			all.add(in)
		case in.Sessions == 0:
			acts = append(acts, action{verb: doRetire, instance: in.ID, reason: in.Reason})
		}
	}
	return acts
}

// launchRoom returns how many launches may begin now. Whatever may cost money counts. After a failed launch there is
// a pause, and then one launch at a time until one has become ready: whatever is wrong may be wrong with all.
func launchRoom(s snapshot, cfg Config, starting int, now time.Time) int {
	room := cfg.MaxInstances - len(s.instances) - len(s.strangers)
	if s.pool.LaunchFailures > 0 {
		room = min(room, 1-starting)
	}
	if launchPaused(&s.pool, now) {
		room = 0
	}
	return max(room, 0)
}

// planIdle cordons instances that have been idle for long without being needed, and those whose end is wanted.
func planIdle(s snapshot, cfg Config, next map[string]verb, ready, want tally, now time.Time) []action {
	var acts []action
	for _, in := range s.instances {
		if in.State == store.InstanceReady && in.Drain && next[in.ID] == "" {
			acts = append(acts, action{verb: doCordon, instance: in.ID, reason: cmp.Or(in.Reason, "it is drained")})
		}
	}
	if cfg.IdleTimeout < 0 {
		return acts
	}
	free, _ := surplus(s, next, ready, want)
	for _, in := range free {
		idle := min(now.Sub(in.IdleSince), now.Sub(s.seen[in.ID].needed))
		if idle >= cfg.IdleTimeout {
			acts = append(acts, action{verb: doCordon, instance: in.ID, reason: "idle"})
		}
	}
	return acts
}

// surplus divides the instances without sessions into those without which the others would be enough, and those that
// are needed. Those that were idle longest are the first to be free.
func surplus(s snapshot, next map[string]verb, ready, want tally) (free, needed []*store.Instance) {
	var idle []*store.Instance
	for _, in := range s.instances {
		if in.State == store.InstanceReady && in.Sessions == 0 && !in.Drain && next[in.ID] == "" {
			idle = append(idle, in)
		}
	}
	slices.SortFunc(idle, func(a, b *store.Instance) int {
		return cmp.Or(a.IdleSince.Compare(b.IdleSince), cmp.Compare(a.ID, b.ID))
	})
	for _, in := range idle {
		if rest := (tally{ready.instances - 1, ready.slots - in.Slots}); rest.short(want) {
			needed = append(needed, in)
		} else {
			ready = rest
			free = append(free, in)
		}
	}
	return free, needed
}

// needed returns the instances without sessions that are needed now. Their idle time begins anew: else a session that
// comes and goes would have an instance retired and launched again each time IdleTimeout has passed.
func needed(s snapshot, cfg Config) []*store.Instance {
	var ready tally
	for _, in := range s.instances {
		if in.State == store.InstanceReady && !in.Drain {
			ready.add(in)
		}
	}
	_, needed := surplus(s, nil, ready, wanted(s, cfg))
	return needed
}

// wanted is what the pool should have.
func wanted(s snapshot, cfg Config) tally {
	return tally{slots: s.demand + cfg.SpareSlots, instances: cfg.MinInstances}
}

// drain takes every instance out of use that has no session. Those that boot were retired by planInstance.
func drain(s snapshot, next map[string]verb) []action {
	var acts []action
	for _, in := range s.instances {
		switch {
		case next[in.ID] != "" || in.Sessions > 0:
		case in.State == store.InstanceReady:
			acts = append(acts, action{verb: doCordon, instance: in.ID, reason: destroyed})
		case in.State == store.InstanceCordoned:
			acts = append(acts, action{verb: doRetire, instance: in.ID, reason: destroyed})
		}
	}
	return acts
}

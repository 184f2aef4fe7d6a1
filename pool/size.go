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
	want := wanted(s, cfg, next)
	ready := readyTally(s, cfg, next)
	all := ready
	starting, failed := 0, false
	for _, in := range s.instances {
		if in.State == store.InstanceLaunching || in.State == store.InstanceBooting {
			starting++
			if next[in.ID] == doRetire {
				failed = true
			} else if !in.Drain {
				all.add(in)
			}
		}
	}
	acts := planCordoned(s, next, &all, want)
	if s.frozen {
		return append(acts, planAdvised(s, next, &ready, &all, want, now)...)
	}
	room := cfg.MaxInstances - len(s.instances) - len(s.strangers)
	acts = append(acts, planRenewal(s, cfg, next, &ready, &all, want, room > 0 || starting > 0, now)...)
	for range launchRoom(s, room, starting, now) {
		if failed || !all.short(want) { // the pause begins when the failure is stored
			break
		}
		acts = append(acts, action{verb: doLaunch})
		all.slots += cfg.SlotsPerInstance
		all.instances++
	}
	acts = append(acts, planAdvised(s, next, &ready, &all, want, now)...)
	return append(acts, planIdle(s, cfg, next, ready, want, now)...)
}

// tally counts instances and the free slots on them.
type tally struct{ instances, slots int }

func (t *tally) add(in *store.Instance) {
	t.instances++
	t.slots += max(in.Slots-in.Sessions, 0)
}

func (t tally) without(in *store.Instance) tally {
	return tally{t.instances - 1, t.slots - max(in.Slots-in.Sessions, 0)}
}

func (t tally) short(want tally) bool { return t.slots < want.slots || t.instances < want.instances }

// serves reports whether an instance takes sessions and will go on to.
func (s *snapshot) serves(in *store.Instance, next map[string]verb) bool {
	leaves := next[in.ID] == doRetire || next[in.ID] == doLose || next[in.ID] == doDrain
	return in.State == store.InstanceReady && !in.Drain && !leaves && !s.advised(in)
}

// readyTally counts the instances that serve. One that does not answer, and is not given up only because many do not,
// has no slot for the next session.
func readyTally(s snapshot, cfg Config, next map[string]verb) (ready tally) {
	for _, in := range s.instances {
		switch {
		case !s.serves(in, next):
		case s.silent(cfg, in):
			ready.instances++
		default:
			ready.add(in)
		}
	}
	return ready
}

// planCordoned takes cordoned instances back into use while all is short of what is wanted, which is cheaper than a
// launch, and those that still have sessions, if nothing speaks against them any more. It retires the others.
func planCordoned(s snapshot, next map[string]verb, all *tally, want tally) []action {
	var acts []action
	for _, in := range s.instances {
		switch {
		case in.State != store.InstanceCordoned || next[in.ID] != "" || s.advised(in):
		case !in.Drain && (all.short(want) || in.Sessions > 0):
			acts = append(acts, action{verb: doUncordon, instance: in.ID})
			next[in.ID] = doUncordon
			all.add(in)
		case in.Sessions == 0 && !s.frozen:
			acts = append(acts, action{verb: doRetire, instance: in.ID, reason: in.Reason})
		}
	}
	return acts
}

// advisedTerm is how long an instance that the cloud advises to leave stays in use once it is ready, or was taken back.
const advisedTerm = 10 * time.Second

// planAdvised lets instances that the cloud advises to leave take no more sessions, and retires those that have none.
// It is an advice: where the pool is short of slots and can launch no more, such an instance is better than none. It is
// then in use for a while: when it takes sessions again, those that wait for one of its containers, which may have no
// room, are no demand for another instance any more.
func planAdvised(s snapshot, next map[string]verb, ready, all *tally, want tally, now time.Time) []action {
	var acts []action
	for _, in := range s.instances {
		if !inUse(in) || next[in.ID] != "" || !s.advised(in) {
			continue
		}
		cordoned := in.State == store.InstanceCordoned
		o, reason := s.outlook(in)
		back := now.Sub(in.Since) < advisedTerm
		switch short := all.short(want); {
		case short && cordoned && in.Sessions < in.Slots:
			acts = append(acts, action{verb: doUncordon, instance: in.ID})
			all.add(in)
		case !cordoned && (short || back):
			ready.add(in)
			all.add(in)
		case !cordoned:
			acts = append(acts, action{verb: doCordon, instance: in.ID, outlook: o, reason: foretold(o, reason)})
		case in.Sessions == 0 && !s.frozen:
			acts = append(acts, action{verb: doRetire, instance: in.ID, reason: in.Reason})
		}
	}
	return acts
}

// launchRoom returns how many launches may begin now, of as many as there is room for below MaxInstances: whatever may
// cost money has its place there. After a failed launch there is a pause, and then one launch at a time until one has
// become ready: whatever is wrong may be wrong with all.
func launchRoom(s snapshot, room, starting int, now time.Time) int {
	room = min(room, s.tokens)
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
		if s.serves(in, next) && in.Sessions == 0 && next[in.ID] == "" {
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
	_, needed := surplus(s, nil, readyTally(s, cfg, nil), wanted(s, cfg, nil))
	return needed
}

// wanted is what the pool should have. Sessions that are about to lose their instance will want another slot.
func wanted(s snapshot, cfg Config, next map[string]verb) tally {
	want := tally{slots: s.demand + cfg.SpareSlots, instances: cfg.MinInstances}
	for _, in := range s.instances {
		o, _ := s.outlook(in)
		if interrupted(in) || next[in.ID] == doDrain && o == OutlookInterrupted {
			want.slots += in.Sessions
		}
	}
	return want
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

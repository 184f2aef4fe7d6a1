package pool

import (
	"cmp"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// destroyed is why instances are retired while the pool is being destroyed.
const destroyed = "the pool is being destroyed"

// planSize decides how many instances to launch, to take back into use, to cordon and to retire. next holds the actions
// that are already decided: planSize leaves those instances alone.
//
// Scaling up counts the slots that there are and those of launches under way, so that no slot is launched twice. Scaling
// down counts only the slots that there are. It retires whole instances, which were not needed for all of IdleTimeout.
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
	if s.refused {
		return append(acts, planAdvised(s, next, &ready, &all, want, now)...)
	}
	room := cfg.MaxInstances - len(s.instances) - len(s.unknown) - unseen(s.pool.Doubts, s.listedAt, cfg, now)
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

// serves reports whether an instance takes sessions, and goes on to.
func (s *snapshot) serves(in *store.Instance, next map[string]verb) bool {
	leaves := next[in.ID] == doRetire || next[in.ID] == doLose || next[in.ID] == doDrain
	return takes(in) && !leaves && !s.advised(in)
}

// readyTally counts the instances that serve. An instance that does not answer, and is kept only because many do not
// answer, has no slot for the next session.
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

// planCordoned takes cordoned instances back into use while all is short of want, which is cheaper than a launch. It also
// takes back those that still have sessions, unless they are drained. It retires the others. It leaves alone those that an
// operator holds.
func planCordoned(s snapshot, next map[string]verb, all *tally, want tally) []action {
	var acts []action
	for _, in := range s.instances {
		switch {
		case in.State != store.InstanceCordoned || next[in.ID] != "" || s.advised(in) || held(in):
		case !in.Drain && (all.short(want) || in.Sessions > 0):
			acts = append(acts, action{verb: doUncordon, instance: in.ID})
			next[in.ID] = doUncordon
			all.add(in)
		case in.Sessions == 0 && !s.refused:
			acts = append(acts, action{verb: doRetire, instance: in.ID, reason: in.Reason})
		}
	}
	return acts
}

// advisedTerm is how long an instance that the cloud advises to leave stays in use after it became ready or was taken back.
const advisedTerm = 10 * time.Second

// planAdvised cordons the instances that the cloud advises to leave, and retires those of them that have no session. If the
// pool is short of slots and can launch no more, it uses such an instance all the same, and for a while: as long as the
// instance takes sessions, those that wait for one of its containers, which may have no room, do not count as demand for
// another instance.
func planAdvised(s snapshot, next map[string]verb, ready, all *tally, want tally, now time.Time) []action {
	var acts []action
	for _, in := range s.instances {
		if !inUse(in) || next[in.ID] != "" || !s.advised(in) || held(in) {
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
		case in.Sessions == 0 && !s.refused:
			acts = append(acts, action{verb: doRetire, instance: in.ID, reason: in.Reason})
		}
	}
	return acts
}

// launchRoom returns how many launches may begin now. room is how many instances there may still be below MaxInstances,
// which counts everything that may cost money. After a failed launch there is a pause, and then one launch at a time until
// an instance has become ready, because the cause may concern all launches.
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

// planIdle cordons instances that have been idle for long without being needed, and instances that are drained.
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

// surplus divides the instances without sessions into free ones, without which the others are enough, and those that are
// needed. Instances that were idle longest are the first to be free.
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

// needed returns the instances without sessions that are needed now. Their idle time begins anew: otherwise sessions that
// come and go would cause an instance to be retired and launched again each time IdleTimeout has passed.
func needed(s snapshot, cfg Config) []*store.Instance {
	_, needed := surplus(s, nil, readyTally(s, cfg, nil), wanted(s, cfg, nil))
	return needed
}

// wanted returns what the pool should have. Sessions that are about to lose their instance will need another slot.
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

// drain takes out of use every instance that has no session. planInstance retires those that boot.
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

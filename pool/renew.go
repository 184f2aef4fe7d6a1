package pool

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// planRenewal drains instances that are too old or of another generation, few at a time and only while launches succeed,
// so that a bad generation does not empty the pool. If such an instance is needed, it is taken off all, so that its
// replacement is launched first; also while launches fail, to see whether they still do. If there is no room for a
// replacement, the instance is drained when it is not needed, or when it has reached MaxAge.
func planRenewal(s snapshot, cfg Config, next map[string]verb, ready, all *tally, want tally, replaceable bool, now time.Time) []action {
	var acts []action
	budget := renewals(s)
	for _, in := range due(s, cfg, next, now) {
		if budget <= 0 {
			break
		}
		rest := ready.without(in)
		switch {
		case launchesFail(s, now) && !replaceable:
			continue
		case launchesFail(s, now):
		case !rest.short(want), !replaceable && (in.Sessions == 0 && s.demand == 0 || overdue(cfg, in, now)):
			*ready = rest
			acts = append(acts, action{verb: doDrain, instance: in.ID, reason: staleness(s, in, now)})
			next[in.ID] = doDrain
		case !replaceable:
			continue
		}
		*all = all.without(in)
		budget--
	}
	return acts
}

// renewals returns how many more instances may be renewed now: one in ten, at least one, less those that are leaving.
func renewals(s snapshot) int {
	n := max(1, len(s.instances)/10)
	for _, in := range s.instances {
		if in.Drain {
			n--
		}
	}
	return n
}

// failedLately is for how long a failed launch counts if no other launch followed, because none was needed.
const failedLately = time.Hour

func launchesFail(s snapshot, now time.Time) bool {
	return s.pool.LaunchFailures > 0 && now.Sub(s.pool.LaunchAfter) < failedLately
}

// due returns the instances that are to be renewed, the oldest first.
func due(s snapshot, cfg Config, next map[string]verb, now time.Time) []*store.Instance {
	var all []*store.Instance
	for _, in := range s.instances {
		if s.serves(in, next) && next[in.ID] == "" && (outdated(s, in) || aged(cfg, in, now)) {
			all = append(all, in)
		}
	}
	slices.SortFunc(all, func(a, b *store.Instance) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// outdated reports whether a launch would now give a machine of another generation.
func outdated(s snapshot, in *store.Instance) bool {
	return s.generation != "" && in.Generation != "" && in.Generation != s.generation
}

// aged reports whether an instance is old enough to be replaced if that costs no slot. Instances that were launched
// together reach that age one after another.
func aged(cfg Config, in *store.Instance, now time.Time) bool {
	most := cfg.MaxAge - time.Duration(fraction(in.ID)*float64(cfg.MaxAge)/4)
	return cfg.MaxAge > 0 && now.Sub(in.CreatedAt) >= most
}

func overdue(cfg Config, in *store.Instance, now time.Time) bool {
	return cfg.MaxAge > 0 && now.Sub(in.CreatedAt) >= cfg.MaxAge
}

func staleness(s snapshot, in *store.Instance, now time.Time) string {
	if outdated(s, in) {
		return fmt.Sprintf("its generation is %q, and new launches have %q", in.Generation, s.generation)
	}
	return fmt.Sprintf("it is %v old", now.Sub(in.CreatedAt).Round(time.Minute))
}

package pool

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// snapshot is what plan decides from.
type snapshot struct {
	pool       store.Pool
	instances  []*store.Instance
	demand     int    // see Config.Demand
	generation string // see Versioned; "" = unknown
	tokens     int    // how many calls of Launch may begin
	refused    bool   // the cloud refuses the credentials

	// The cloud's last list, by launch ID. listed says whether the last call succeeded: if not, nothing is concluded from
	// a machine that is not on the list.
	machines map[string]Machine
	listed   bool
	listedAt time.Time

	seen    map[string]observation // of every instance, by launch ID
	unknown map[string]observation // of the machines that no record knows, by cloud ID

	cutOff, doubtful, manyImpaired bool // what weigh concludes from all this
}

// verb names what an action does.
type verb string

const (
	doLaunch     verb = "launch"    // write down a new launch and start it
	doRepeat     verb = "repeat"    // repeat a launch of unknown outcome
	doAdopt      verb = "adopt"     // the launch has given a machine
	doLocate     verb = "locate"    // the cloud has given it an address, or a new one
	doReady      verb = "ready"     // it takes sessions from now on
	doCordon     verb = "cordon"    // it takes no more sessions; only if it has none or has an outlook
	doDrain      verb = "drain"     // it takes no more sessions
	doUncordon   verb = "uncordon"  // it takes sessions again
	doRetire     verb = "retire"    // from now on it is terminating
	doLose       verb = "lose"      // from now on it is lost
	doTerminate  verb = "terminate" // ask the cloud to end it
	doForget     verb = "forget"    // it is gone: remove the record
	doProve      verb = "prove"     // repeat a launch of unknown outcome, to learn which machine to end
	doEndUnknown verb = "end unknown"
)

// action is one thing that the Manager does.
type action struct {
	verb     verb
	instance string // launch ID; "" for doLaunch and doEndUnknown
	cloudID  string
	address  string
	reason   string
	outlook  Outlook // why it is cordoned or drained, if that is why
	failed   bool    // counts as a failed launch
}

// plan decides what to do now. It is a pure function: the same arguments give the same actions, in the same order. There is
// at most one action for each instance.
func plan(s snapshot, cfg Config, now time.Time) []action {
	s.instances = slices.SortedFunc(slices.Values(s.instances), func(a, b *store.Instance) int { return cmp.Compare(a.ID, b.ID) })
	s.weigh(cfg)
	var acts []action
	next := make(map[string]verb, len(s.instances)) // what each instance does next
	for _, in := range s.instances {
		if s.seen[in.ID].waits(now) {
			next[in.ID] = "wait"
			continue
		}
		if a := planInstance(s, cfg, in, now); a.verb != "" {
			a.instance = in.ID
			next[in.ID] = a.verb
			acts = append(acts, a)
		}
	}
	acts = s.pace(acts)
	acts = append(acts, planSize(s, cfg, next, now)...)
	acts = append(acts, planUnknown(s, cfg, now)...)
	if s.refused {
		acts = slices.DeleteFunc(acts, func(a action) bool { return a.verb == doTerminate || a.verb == doEndUnknown || a.verb == doProve })
	}
	return acts
}

// pace leaves out launches that may not be repeated yet, and takes the tokens of the others. The launches that have waited
// longest come first.
func (s *snapshot) pace(acts []action) []action {
	var waiting []string
	for _, a := range acts {
		if a.verb == doRepeat || a.verb == doProve {
			waiting = append(waiting, a.instance)
		}
	}
	slices.SortStableFunc(waiting, func(a, b string) int { return s.seen[a].after.Compare(s.seen[b].after) })
	n := min(len(waiting), max(s.tokens, 0))
	if s.refused {
		n = 0
	}
	s.tokens -= n
	late := make(map[string]bool)
	for _, id := range waiting[n:] {
		late[id] = true
	}
	return slices.DeleteFunc(acts, func(a action) bool { return (a.verb == doRepeat || a.verb == doProve) && late[a.instance] })
}

// planInstance decides about one instance by itself. The zero action means that there is nothing to do.
func planInstance(s snapshot, cfg Config, in *store.Instance, now time.Time) action {
	m, there := s.machines[in.ID]
	seen := s.seen[in.ID]
	dead := death(s, cfg, in)
	moved := there && m.Address != "" && m.Address != in.Address
	late := now.Sub(seen.known) >= cfg.BootTimeout // by this process's clock: another process may have launched it

	switch in.State {
	case store.InstanceLaunching:
		switch {
		case dead != "":
			return action{verb: doRetire, reason: dead, failed: true}
		case s.pool.Draining:
			return action{verb: doRetire, reason: destroyed}
		case there:
			return action{verb: doAdopt, cloudID: m.CloudID, address: m.Address}
		case late:
			return action{verb: doRetire, reason: launchedLate(seen), failed: true}
		}
		return action{verb: doRepeat}
	case store.InstanceBooting:
		doomed := planOutlook(s, in, now)
		switch {
		case dead != "":
			return action{verb: doRetire, reason: dead, failed: true, cloudID: in.CloudID}
		case s.pool.Draining:
			return action{verb: doRetire, reason: destroyed}
		case doomed.verb != "":
			return action{verb: doRetire, reason: doomed.reason, failed: true}
		case moved:
			return action{verb: doLocate, address: m.Address}
		case seen.healthy && seen.probed == in.Address:
			return action{verb: doReady}
		case late:
			return action{verb: doRetire, reason: bootedLate(in, seen), failed: true, cloudID: in.CloudID}
		}
	case store.InstanceReady, store.InstanceCordoned:
		switch {
		case dead != "":
			return action{verb: doLose, reason: dead}
		case moved:
			return action{verb: doLocate, address: m.Address}
		case s.silent(cfg, in) && (!s.cutOff || !seen.impaired.IsZero()):
			return action{verb: doLose, reason: withOutlook(in, fmt.Sprintf("its engine failed %d probes in a row", seen.strikes))}
		}
		if doomed := planOutlook(s, in, now); doomed.verb != "" {
			return doomed
		}
		return planWish(in)
	case store.InstanceTerminating, store.InstanceLost:
		a := planEnd(s, cfg, in, now)
		if a.verb == doForget && len(in.Empties) > 0 { // other code is giving them up
			return action{}
		}
		return a
	}
	return action{}
}

// silent reports whether an instance has failed so many probes that it would count as lost.
func (s *snapshot) silent(cfg Config, in *store.Instance) bool {
	seen := s.seen[in.ID]
	return seen.strikes >= cfg.ProbeStrikes && seen.probed == in.Address
}

// withOutlook adds the outlook of an instance, if it was a bad one, to the reason for its end.
func withOutlook(in *store.Instance, reason string) string {
	if Outlook(in.Outlook).weight() > OutlookRebalance.weight() {
		return in.Reason + "; " + reason
	}
	return reason
}

// death says why the machine of an instance serves no more; "" = it still serves, or that is not known.
func death(s snapshot, cfg Config, in *store.Instance) string {
	m, there := s.machines[in.ID]
	switch {
	case there && (m.State == MachineEnded || m.State == MachineEnding || m.State == MachineStopped):
		return withOutlook(in, fmt.Sprintf("the cloud says that it is %s: %s", m.State, m.Reason))
	case in.CloudID != "" && s.missing(in.ID) >= cfg.OrphanGrace && !s.answers(in):
		return withOutlook(in, "the cloud does not list it any more")
	}
	return ""
}

// missing returns for how long the cloud has not listed an instance: from the first list without it to the last.
func (s *snapshot) missing(id string) time.Duration {
	since := s.seen[id].missing
	if _, there := s.machines[id]; there || !s.listed || since.IsZero() {
		return 0
	}
	return s.listedAt.Sub(since)
}

// planEnd decides about an instance that is terminating or lost. The record stays until the machine is known to have
// ended, because the machine may cost money until then.
func planEnd(s snapshot, cfg Config, in *store.Instance, now time.Time) action {
	m, there := s.machines[in.ID]
	seen := s.seen[in.ID]
	switch {
	case in.Sessions > 0: // other code is ending them
	case there && m.State == MachineEnded:
		return action{verb: doForget}
	case there && seen.asked.After(now): // it is ending, or will be asked for again
	case there:
		return action{verb: doTerminate, cloudID: m.CloudID}
	case in.CloudID != "" && !in.Terminated:
		return action{verb: doTerminate, cloudID: in.CloudID}
	case in.CloudID == "" && len(in.Frozen) == 0: // the cloud was never asked
		return action{verb: doForget}
	case in.CloudID == "" && s.listed && s.listedAt.Sub(seen.since) >= cfg.OrphanGrace:
		// The outcome of the launch was never learnt, and the list has had time to show its machine.
		return action{verb: doForget}
	case in.CloudID == "" && s.pool.Draining:
		// Destroy waits for the end of the pool. A repeated launch returns the outcome at once; the list shows it minutes
		// later.
		return action{verb: doProve}
	case !s.listed || in.CloudID == "":
	case seen.listed, now.Sub(in.CreatedAt) >= cfg.OrphanGrace, s.missing(in.ID) >= cfg.OrphanGrace:
		// Of a new machine that was never listed, neither need be true: that it has ended (a cloud may say so of a machine
		// that it cannot find yet), nor that it is absent.
		return action{verb: doForget}
	}
	return action{}
}

// planUnknown ends machines of the pool that no record has known for a while, and machines of a store that was lost.
func planUnknown(s snapshot, cfg Config, now time.Time) []action {
	var acts []action
	for id, seen := range s.unknown {
		grace := cfg.OrphanGrace
		switch {
		case seen.foreign:
			grace = cfg.ForeignGrace
		case seen.doubted || s.pool.Draining: // no record will come for it
			grace = 0
		}
		if s.listed && s.listedAt.Sub(seen.known) >= grace && !seen.waits(now) && !seen.asked.After(now) {
			acts = append(acts, action{verb: doEndUnknown, cloudID: id})
		}
	}
	slices.SortFunc(acts, func(a, b action) int { return cmp.Compare(a.cloudID, b.cloudID) })
	return acts
}

// launchedLate says why a launch is given up, with the cloud's last error, which sessions that wait learn in no other way.
func launchedLate(seen observation) string {
	const reason = "the launch did not succeed in time"
	if seen.launchErr == "" {
		return reason
	}
	return reason + ": " + seen.launchErr
}

// bootedLate says why an instance that boots is given up. The last error of its engine tells a closed port from a machine
// that is still busy.
func bootedLate(in *store.Instance, seen observation) string {
	const reason = "it did not boot in time"
	if in.Address == "" {
		return reason + ": the cloud shows no address at which it could be reached"
	}
	if seen.failure == "" {
		return reason
	}
	return reason + ": " + cleanTail(seen.failure)
}

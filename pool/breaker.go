package pool

import (
	"github.com/berth-go/berth/store"
)

// What looks like the end of many instances at once is more likely a fault of what we see them through: a network that
// is cut, credentials of another account, a zone that the cloud's list lacks. So nothing final is done for it before
// there is other evidence. A pool of one or two instances has no such breaker: there, the probes alone decide.

// weigh decides what is believed of what is seen.
func (s *snapshot) weigh(cfg Config) {
	s.doubtful = doubtful(*s, cfg)
	s.listed = s.listed && !s.doubtful
	s.cutOff, s.manyImpaired = cutOff(*s, cfg), manyImpaired(*s)
}

// many reports whether so many of the instances in use are in trouble at once that the trouble may be ours: more than
// two, and more than three in ten. Karpenter stops its repairs at 20 %, the cluster-autoscaler at three and 45 %.
func many(n, of int) bool { return n > 2 && 10*n > 3*of }

// inUse reports whether sessions may be on an instance.
func inUse(in *store.Instance) bool {
	return in.State == store.InstanceReady || in.State == store.InstanceCordoned
}

// cutOff reports whether so many instances fail their probes that none is believed to be lost for that alone.
func cutOff(s snapshot, cfg Config) bool {
	silent, all := 0, 0
	for _, in := range s.instances {
		if !inUse(in) {
			continue
		}
		all++
		// One failed probe may be chance. One whose machine has ended is no riddle.
		if seen := s.seen[in.ID]; seen.strikes >= min(2, cfg.ProbeStrikes) && seen.probed == in.Address && death(s, cfg, in) == "" {
			silent++
		}
	}
	return many(silent, all)
}

// doubtful reports whether the cloud's list lacks so much of what should be there that nothing is concluded from it:
// until that has lasted twice as long as for one instance, and for as long as the engines of those machines answer.
func doubtful(s snapshot, cfg Config) bool {
	if !s.listed {
		return false
	}
	missing, all := 0, 0
	for _, in := range s.instances {
		_, there := s.machines[in.ID]
		lags := !s.seen[in.ID].listed && s.listedAt.Sub(in.CreatedAt) < cfg.OrphanGrace
		if !inUse(in) || !there && lags {
			continue
		}
		all++
		if !there && (s.answers(in) || s.missing(in.ID) < 2*cfg.OrphanGrace) {
			missing++
		}
	}
	return many(missing, all) || missing == all && all >= 2
}

// answers reports whether the engine of an instance answered the last probe. Then its machine is there, whatever the
// cloud lists: an engine proves whose it is.
func (s *snapshot) answers(in *store.Instance) bool {
	seen := s.seen[in.ID]
	return seen.healthy && seen.probed == in.Address
}

// manyImpaired reports whether the cloud calls so many machines impaired that draining them would empty the pool: the
// probes say which of them serve.
func manyImpaired(s snapshot) bool {
	impaired, all := 0, 0
	for _, in := range s.instances {
		if inUse(in) {
			all++
			if o, _ := s.outlook(in); o == OutlookImpaired {
				impaired++
			}
		}
	}
	return many(impaired, all)
}

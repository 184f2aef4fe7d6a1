package pool

import (
	"github.com/berth-go/berth/store"
)

// If many instances seem to end at once, the cause is more likely one of this process's own: a network that is cut,
// credentials of another account, a zone that the cloud's list lacks. So nothing final is done before there is other
// evidence. A pool of one or two instances has no such breaker: there, the probes alone decide.

// weigh decides which observations are believed.
func (s *snapshot) weigh(cfg Config) {
	s.doubtful = doubtful(*s, cfg)
	s.listed = s.listed && !s.doubtful
	s.cutOff, s.manyImpaired = cutOff(*s, cfg), manyImpaired(*s)
}

// many reports whether so many of the instances in use are in trouble at once that the cause may be this process's own: more
// than two, and more than three in ten. Karpenter stops its repairs at 20 %, the cluster-autoscaler at three and 45 %.
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
		// One failed probe may be chance. An instance whose machine has ended fails its probes for that reason.
		if seen := s.seen[in.ID]; seen.strikes >= min(2, cfg.ProbeStrikes) && seen.probed == in.Address && death(s, cfg, in) == "" {
			silent++
		}
	}
	return many(silent, all)
}

// doubtful reports whether the cloud's list lacks so many instances that nothing is concluded from it. It is believed after
// twice the time that it takes for one instance, and never for a machine whose engine answers.
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

// answers reports whether the engine of an instance answered the last probe. Then its machine exists, whatever the cloud
// lists, because an engine proves which launch it belongs to.
func (s *snapshot) answers(in *store.Instance) bool {
	seen := s.seen[in.ID]
	return seen.healthy && seen.probed == in.Address
}

// manyImpaired reports whether the cloud calls so many machines impaired that to drain them would empty the pool. The
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

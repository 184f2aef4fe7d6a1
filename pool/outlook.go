package pool

import (
	"fmt"
	"time"

	"github.com/berth-go/berth/store"
)

// OutlookError is what Config.Probe returns for an engine that takes work, on a machine whose host has a notice of its
// future. The cloud's list need not show such a notice. It does not count as a failed probe.
type OutlookError struct {
	Outlook Outlook
	Reason  string // in the host's words
}

// Error implements error.
func (e *OutlookError) Error() string {
	return fmt.Sprintf("the machine is %s: %s", e.Outlook, e.Reason)
}

// impairedGrace is how long a machine may be impaired before its instance is drained, because the cloud's checks fail now
// and then for a minute. Karpenter waits as long.
const impairedGrace = 2 * time.Minute

// weight orders the outlooks, the best first.
func (o Outlook) weight() int {
	switch o {
	case OutlookRebalance:
		return 1
	case OutlookImpaired:
		return 2
	case OutlookRetiring:
		return 3
	case OutlookInterrupted:
		return 4
	}
	return 0
}

// outlook returns the worse of the outlooks that the cloud and the host give for an instance, and the reason.
func (s *snapshot) outlook(in *store.Instance) (Outlook, string) {
	m, seen := s.machines[in.ID], s.seen[in.ID]
	if seen.notice.weight() > m.Outlook.weight() {
		return seen.notice, seen.noticed
	}
	return m.Outlook, m.Reason
}

// advised reports whether the cloud advises to leave an instance. It should take no more sessions if that can be avoided.
func (s *snapshot) advised(in *store.Instance) bool {
	o, _ := s.outlook(in)
	return o == OutlookRebalance && !in.Drain
}

// planOutlook drains an instance whose machine has no future, although it may have sessions. The zero action means that
// there is nothing to do.
func planOutlook(s snapshot, in *store.Instance, now time.Time) action {
	o, reason := s.outlook(in)
	doomed := o == OutlookInterrupted || o == OutlookRetiring ||
		o == OutlookImpaired && !s.manyImpaired && now.Sub(s.seen[in.ID].impaired) >= impairedGrace
	if !doomed || in.Drain && o.weight() <= Outlook(in.Outlook).weight() {
		return action{}
	}
	return action{verb: doDrain, outlook: o, reason: foretold(o, reason)}
}

// foretold says in words what an outlook means for an instance.
func foretold(o Outlook, reason string) string {
	what := map[Outlook]string{
		OutlookRebalance:   "the cloud advises to leave it",
		OutlookImpaired:    "the cloud's checks of it fail",
		OutlookRetiring:    "the cloud will retire it",
		OutlookInterrupted: "the cloud is taking it back",
	}[o]
	if reason != "" {
		what += ": " + reason
	}
	return what
}

// interrupted reports whether the cloud will soon take an instance back that still serves. Its sessions will need room
// elsewhere.
func interrupted(in *store.Instance) bool {
	return Outlook(in.Outlook) == OutlookInterrupted && in.State == store.InstanceCordoned
}

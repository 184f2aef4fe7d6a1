// Package usage keeps the bill of a pool: it accounts for every second that the cloud bills.
//
// The process that has the planner's lease accounts, once a minute, from the cloud's last lists and from the records of
// sessions. The Ledger says until when the time of each machine is accounted. One transaction moves that time and adds what
// lies between to hourly rows, so that nothing is counted twice, and nothing is lost when a process dies. docs/usage.md has
// the rules.
package usage

import "time"

const (
	// Interval is the time between two steps. Each writes at most once.
	Interval = time.Minute
	// margin is how far the accounts stay behind: transactions of sessions that are under way end within it, and lists that
	// lag behind show the ends of machines. There is none once the pool is destroyed.
	margin = time.Minute
	// lastTimeout bounds the last steps of a planner. It is less than the part of the lease's term that its work has to end.
	lastTimeout = 3 * time.Second
	// missingGrace is how long a machine may be missing from the lists before its bill is taken to have ended, a margin before
	// the last list that showed it.
	missingGrace = 5 * time.Minute
	// remembered is how long a machine stays in the Ledger after its end. A cloud does not list it any more after that.
	remembered = 2 * time.Hour
	// DefaultRetention is how long rows are kept.
	DefaultRetention = 35 * 24 * time.Hour

	mostMachines = 100  // in one step
	mostRows     = 1000 // in one step, except that one machine's are not divided
	maxLabel     = 64   // bytes of a label's value
)

package store

// The words that records hold. They are stored: they do not change.

// StartKind says what a session found when it started.
type StartKind string

// The kinds of start, the fastest first.
const (
	StartAttached StartKind = "attached" // the container was running
	StartWarm     StartKind = "warm"     // the instance had the repository's mirror
	StartCold     StartKind = "cold"     // the repository was cloned
)

// EndReason says why a session ended, or why a container did.
type EndReason string

// The reasons. Containers have EndStartFailed and EndContainerLost alone.
const (
	EndTerminated    EndReason = "terminated"
	EndExpired       EndReason = "expired"
	EndInstanceLost  EndReason = "instance lost"
	EndContainerLost EndReason = "container lost"
	EndStartFailed   EndReason = "start failed"
	EndCancelled     EndReason = "cancelled"   // its creator gave up
	EndAbandoned     EndReason = "abandoned"   // its creator's process ended
	EndRevoked       EndReason = "revoked"     // its user may not use the repository any more
	EndOverLimit     EndReason = "over limit"  // it used more than it may, as the message says
	EndInterrupted   EndReason = "interrupted" // its instance is taken back within minutes
	EndLifetime      EndReason = "lifetime"    // it has reached its MaxLifetime
)

// Isolation says what separates sessions that share a container. "" = it is not known.
type Isolation string

// The kinds of isolation, the stronger first.
const (
	IsolationRooms Isolation = "rooms" // each session has namespaces and a cgroup of its own
	IsolationUID   Isolation = "uid"   // each session has a uid of its own, and shares all else
)

// Wish is what an operator wants of an instance. The planner carries it out.
type Wish string

// The wishes.
const (
	WishCordon   Wish = "cordon"   // it takes no new sessions until an operator lets it
	WishUncordon Wish = "uncordon" // it takes sessions again
	WishDrain    Wish = "drain"    // it takes no new sessions, and ends when it has none
)

// Phase says how far a start had come when it failed.
type Phase string

// The phases of a start, in their order.
const (
	PhasePlacing  Phase = "placing"
	PhaseStarting Phase = "starting"
	PhaseFetching Phase = "fetching"
	PhaseCheckout Phase = "checkout"
)

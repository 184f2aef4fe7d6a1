package ec2test

import (
	"net/netip"
	"time"
)

// State is the state of an instance.
type State string

// The states of an instance.
const (
	Pending      State = "pending"
	Running      State = "running"
	ShuttingDown State = "shutting-down"
	Terminated   State = "terminated"
	Stopping     State = "stopping"
	Stopped      State = "stopped"
)

var stateCodes = map[State]int{Pending: 0, Running: 16, ShuttingDown: 32, Terminated: 48, Stopping: 64, Stopped: 80}

// reservation is the result of one call of RunInstances.
type reservation struct {
	id        string
	launch    *launch
	instances []*instance
}

// instance is an instance. Its times determine its state. A zero time never comes.
type instance struct {
	id          string
	index       int // in its reservation
	reservation *reservation
	launch      *launch
	subnet      *subnet
	private     netip.Addr
	public      netip.Addr // none if not valid
	tags        tags
	imds        Metadata
	disks       []*volume
	card        *networkCard
	spot        *spotRequest // nil: on demand

	launched time.Time
	runs     time.Time
	stops    time.Time // stopping begins
	halted   time.Time // and is over
	shuts    time.Time // shutting-down begins
	ended    time.Time // and is over
	reason   string    // the reason for its stop or end: the code of a StateReason

	protected bool
	ignored   int // the number of terminations to ignore
	console   string
	printed   time.Time // the time of the last write to console
	impaired  map[Check]time.Time
	events    []maintenance
	rebalance time.Time     // when a higher risk was announced
	wake      chan struct{} // wakes its goroutine when its times have changed
}

func reached(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// state returns the state at a time. The end of the instance shows lag late.
func (i *instance) state(now time.Time, lag time.Duration) State {
	old := now.Add(-lag)
	switch {
	case reached(i.ended, old):
		return Terminated
	case reached(i.shuts, old):
		return ShuttingDown
	case reached(i.halted, old):
		return Stopped
	case reached(i.stops, old):
		return Stopping
	case reached(i.runs, now):
		return Running
	}
	return Pending
}

// down returns the time at which the instance stops working, or zero if it does not.
func (i *instance) down() time.Time {
	if i.stops.IsZero() || !i.shuts.IsZero() && i.shuts.Before(i.stops) {
		return i.shuts
	}
	return i.stops
}

// end begins the instance's end at a time, unless the end begins before.
func (i *instance) end(at time.Time, takes time.Duration, reason string) {
	if !i.shuts.IsZero() && !at.Before(i.shuts) {
		return
	}
	i.shuts, i.ended, i.reason = at, at.Add(takes), reason
	i.changed()
}

func (i *instance) changed() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// visible reports whether Describe calls know the instance.
func (s *Server) visible(i *instance, now time.Time) bool {
	gone := !i.ended.IsZero() && reached(i.ended.Add(s.opts.Linger).Add(s.opts.EndLag), now)
	return reached(i.launched.Add(s.opts.LaunchLag), now) && !gone
}

// shown returns the instances that Describe calls know, in the order of their IDs.
func (s *Server) shown(now time.Time) []*instance {
	var some []*instance
	for _, i := range s.launched {
		if s.visible(i, now) {
			some = append(some, i)
		}
	}
	return some
}

// named returns the instances with some IDs. It fails if one of them does not exist.
func (s *Server) named(ids []string, now time.Time) ([]*instance, error) {
	if len(ids) == 0 {
		return nil, fail("MissingParameter", "The request must contain the parameter InstanceId")
	}
	if err := checkIDs("InvalidInstanceID", "i", ids); err != nil {
		return nil, err
	}
	var found []*instance
	var missing []string
	for _, id := range ids {
		if i := s.instances[id]; i != nil && s.visible(i, now) {
			found = append(found, i)
		} else {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return nil, notFound("InvalidInstanceID", "instance", missing)
	}
	return found, nil
}

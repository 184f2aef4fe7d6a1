package ec2test

import (
	"slices"
	"time"
)

type xmlChange struct {
	ID       string   `xml:"instanceId"`
	Current  xmlState `xml:"currentState"`
	Previous xmlState `xml:"previousState"`
}

func (s *Server) terminateInstances(p params, now time.Time) (any, error) {
	ids, dry := p.list("InstanceId"), p.dry()
	p.boolean("Force", false)
	p.boolean("SkipOsShutdown", false)
	if len(ids) > maxLaunch {
		p.fail(invalid("instancesSet", "", "Too many instances."))
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	found, err := s.named(ids, now)
	if err != nil {
		return nil, err
	}
	if dry != nil {
		return nil, dry
	}
	if err := s.throttle.resources("ec2:TerminateInstances", len(ids), now); err != nil {
		return nil, err
	}
	// A protected instance also saves the others of its zone that the call names. It saves none in other zones.
	var refused error
	var saved []string // zones
	for _, i := range found {
		if i.protected && i.state(now, 0) != Terminated {
			saved = append(saved, i.subnet.zone)
			refused = fail("OperationNotPermitted", "The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", i.id)
		}
	}
	out := &struct {
		head
		Changes []xmlChange `xml:"instancesSet>item"`
	}{}
	for _, i := range found {
		if slices.Contains(saved, i.subnet.zone) {
			continue
		}
		previous := i.state(now, 0)
		current := previous
		switch {
		case previous == Terminated, previous == ShuttingDown:
		case i.ignored > 0:
			i.ignored--
			current = ShuttingDown
		default:
			i.end(now, s.opts.Ending, byUser)
			current = ShuttingDown // even if its end takes no time
		}
		out.Changes = append(out.Changes, xmlChange{i.id, stateOf(current), stateOf(previous)})
	}
	return out, refused
}

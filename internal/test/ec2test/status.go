package ec2test

import (
	"slices"
	"time"
)

type xmlStatus struct {
	ID       string     `xml:"instanceId"`
	Zone     string     `xml:"availabilityZone"`
	State    xmlState   `xml:"instanceState"`
	System   xmlCheck   `xml:"systemStatus"`
	Instance xmlCheck   `xml:"instanceStatus"`
	Events   []xmlEvent `xml:"eventsSet>item"`
}

type xmlCheck struct {
	Status  string           `xml:"status"`
	Details []xmlCheckDetail `xml:"details>item"`
}

type xmlCheckDetail struct {
	Name   string `xml:"name"`
	Status string `xml:"status"`
	Since  string `xml:"impairedSince,omitempty"`
}

type xmlEvent struct {
	ID          string `xml:"instanceEventId"`
	Code        string `xml:"code"`
	Description string `xml:"description"`
	NotBefore   string `xml:"notBefore"`
}

// check returns a status check as Describe calls show it.
func (s *Server) check(i *instance, c Check, now time.Time) xmlCheck {
	since, impaired := i.impaired[c]
	switch {
	case i.state(now, s.opts.EndLag) != Running:
		return xmlCheck{Status: "not-applicable"}
	case impaired:
		return xmlCheck{"impaired", []xmlCheckDetail{{"reachability", "failed", stamp(since)}}}
	case !reached(i.runs.Add(s.opts.Checks), now):
		return xmlCheck{"initializing", []xmlCheckDetail{{"reachability", "initializing", ""}}}
	}
	return xmlCheck{"ok", []xmlCheckDetail{{"reachability", "passed", ""}}}
}

func (s *Server) describeInstanceStatus(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "InstanceId", 1000)
	all := p.boolean("IncludeAllInstances", false)
	if err := p.done(); err != nil {
		return nil, err
	}
	k := s.instanceKind(now)
	k.tags = nil
	k.attributes = map[string]func(*instance) string{
		"instance-state-name":    k.attributes["instance-state-name"],
		"availability-zone":      k.attributes["availability-zone"],
		"instance-status.status": func(i *instance) string { return s.check(i, InstanceCheck, now).Status },
		"system-status.status":   func(i *instance) string { return s.check(i, SystemCheck, now).Status },
		"event.code": func(i *instance) string {
			if len(i.events) == 0 {
				return ""
			}
			return i.events[0].code
		},
	}
	if len(d.ids) > 0 {
		if _, err := s.named(d.ids, now); err != nil {
			return nil, err
		}
	}
	var some []*instance
	for _, i := range s.shown(now) {
		asked := len(d.ids) == 0 || slices.Contains(d.ids, i.id)
		if asked && (all || i.state(now, s.opts.EndLag) == Running) {
			some = append(some, i)
		}
	}
	d.ids = nil // they have been looked up, and it is no error if one does not run
	out := &struct {
		head
		Next     string      `xml:"nextToken,omitempty"`
		Statuses []xmlStatus `xml:"instanceStatusSet>item"`
	}{}
	found, next, err := find(d, some, k)
	out.Next = next
	for _, i := range found {
		x := xmlStatus{i.id, i.subnet.zone, stateOf(i.state(now, s.opts.EndLag)), s.check(i, SystemCheck, now), s.check(i, InstanceCheck, now), nil}
		for _, e := range i.events {
			x.Events = append(x.Events, xmlEvent{e.id, e.code, "The instance is scheduled for " + e.code, stamp(e.notBefore)})
		}
		out.Statuses = append(out.Statuses, x)
	}
	return out, err
}

package ec2test

import (
	"cmp"
	"fmt"
	"time"
)

// spotRequest is a one-time request for one instance. It has its instance from the start, because RunInstances does not
// wait for one.
type spotRequest struct {
	id        string
	instance  *instance
	created   time.Time
	noticed   time.Time // when the end of its instance was announced
	cancelled time.Time
	tags      tags
}

// interrupted is the reason for the end of an instance that AWS takes back.
const interrupted = "Server.SpotInstanceTermination"

// InterruptSpot announces that AWS takes an instance back, and ends the instance after Options.Notice. Until then, its
// spot request has the status marked-for-termination, and Instance.Notice has the time in its metadata.
func (s *Server) InterruptSpot(id string) {
	now := s.lock()
	i := s.find(id)
	if i.spot == nil {
		s.mu.Unlock()
		panic(fmt.Sprintf("ec2test: %s is no spot instance", id))
	}
	if i.spot.noticed.IsZero() {
		i.spot.noticed = now
		i.end(now.Add(s.opts.Notice), s.opts.Ending, interrupted)
	}
	s.mu.Unlock()
	s.tell(SpotInterruption, id, now)
}

// Rebalance announces that an instance has a higher risk of an interruption. AWS announces that only through
// EventBridge and metadata: no call of the API shows it.
func (s *Server) Rebalance(id string) {
	now := s.lock()
	s.find(id).rebalance = now
	s.mu.Unlock()
	s.tell(Rebalance, id, now)
}

func (s *Server) tell(event, id string, now time.Time) {
	if s.opts.OnEvent != nil {
		s.opts.OnEvent(Event{event, id, now})
	}
}

// status returns the state and the status code of a request.
func (r *spotRequest) status(now time.Time) (state, code string) {
	i := r.instance
	over := reached(i.shuts, now)
	switch {
	case !r.cancelled.IsZero() && !over:
		return "cancelled", "request-canceled-and-instance-running"
	case over && i.reason == interrupted && i.launch.maxPrice != "":
		return "closed", "instance-terminated-by-price"
	case over && i.reason == interrupted, over && i.reason == "Server.InsufficientInstanceCapacity":
		return "closed", "instance-terminated-no-capacity"
	case over && (i.reason == byUser || i.reason == byItself):
		state, code = "closed", "instance-terminated-by-user"
	case over:
		state, code = "closed", "instance-terminated-by-service"
	case !r.noticed.IsZero():
		return "active", "marked-for-termination"
	default:
		return "active", "fulfilled"
	}
	if !r.cancelled.IsZero() {
		state = "cancelled"
	}
	return state, code
}

type xmlSpot struct {
	ID       string `xml:"spotInstanceRequestId"`
	Price    string `xml:"spotPrice"`
	Type     string `xml:"type"`
	State    string `xml:"state"`
	Code     string `xml:"status>code"`
	Updated  string `xml:"status>updateTime"`
	Message  string `xml:"status>message"`
	Image    string `xml:"launchSpecification>imageId"`
	Machine  string `xml:"launchSpecification>instanceType"`
	Subnet   string `xml:"launchSpecification>subnetId"`
	Instance string `xml:"instanceId"`
	Created  string `xml:"createTime"`
	Product  string `xml:"productDescription"`
	Tags     []tag  `xml:"tagSet>item"`
	Zone     string `xml:"launchedAvailabilityZone"`
	Behavior string `xml:"instanceInterruptionBehavior"`
}

func (s *Server) spotKind(now time.Time) kind[*spotRequest] {
	return kind[*spotRequest]{
		code: "InvalidSpotInstanceRequestID", name: "spot instance request", id: func(r *spotRequest) string { return r.id },
		tags: func(r *spotRequest) tags { return r.tags },
		attributes: map[string]func(*spotRequest) string{
			"spot-instance-request-id":   func(r *spotRequest) string { return r.id },
			"instance-id":                func(r *spotRequest) string { return r.instance.id },
			"state":                      func(r *spotRequest) string { state, _ := r.status(now); return state },
			"status-code":                func(r *spotRequest) string { _, code := r.status(now); return code },
			"launched-availability-zone": func(r *spotRequest) string { return r.instance.subnet.zone },
			"type":                       func(*spotRequest) string { return "one-time" },
		},
	}
}

// shownSpots returns the requests that Describe calls know.
func (s *Server) shownSpots(now time.Time) []*spotRequest {
	var some []*spotRequest
	for _, r := range s.spots {
		if reached(r.created.Add(s.opts.LaunchLag), now) {
			some = append(some, r)
		}
	}
	return some
}

func (s *Server) describeSpotInstanceRequests(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "SpotInstanceRequestId", 1000)
	if err := p.done(); err != nil {
		return nil, err
	}
	found, next, err := find(d, s.shownSpots(now), s.spotKind(now))
	out := &struct {
		head
		Next     string    `xml:"nextToken,omitempty"`
		Requests []xmlSpot `xml:"spotInstanceRequestSet>item"`
	}{Next: next}
	for _, r := range found {
		i := r.instance
		state, code := r.status(now)
		out.Requests = append(out.Requests, xmlSpot{
			r.id, fmt.Sprint(i.launch.typ.spotPrice), "one-time", state, code, stamp(now), "Your Spot request is " + code + ".",
			i.launch.imageID, i.launch.typ.name, i.subnet.id, i.id, stamp(r.created), "Linux/UNIX", r.tags.shown(now, s.opts.TagLag), i.subnet.zone, "terminate",
		})
	}
	return out, err
}

type xmlCancelled struct {
	ID    string `xml:"spotInstanceRequestId"`
	State string `xml:"state"`
}

func (s *Server) cancelSpotInstanceRequests(p params, now time.Time) (any, error) {
	ids, dry := p.list("SpotInstanceRequestId"), p.dry()
	if len(ids) == 0 {
		p.fail(fail("MissingParameter", "The request must contain the parameter SpotInstanceRequestId"))
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	found, _, err := find(describe{ids: ids}, s.shownSpots(now), s.spotKind(now))
	if err != nil || dry != nil {
		return nil, cmp.Or(err, dry)
	}
	out := &struct {
		head
		Requests []xmlCancelled `xml:"spotInstanceRequestSet>item"`
	}{}
	for _, r := range found {
		if state, _ := r.status(now); state == "active" {
			r.cancelled = now
		}
		state, _ := r.status(now)
		out.Requests = append(out.Requests, xmlCancelled{r.id, state})
	}
	return out, nil
}

package ec2test

import (
	"fmt"
	"math"
	"net/netip"
	"time"
)

// launchIn starts the instances of a launch. All of them are in one zone, and there are as many as it has room for.
func (s *Server) launchIn(l *launch, now time.Time) (*reservation, error) {
	var where *subnet
	var refused error
	most := 0
	for _, sub := range s.subnetsOf(l) {
		n, err := s.room(l, sub, now)
		if n < l.least {
			refused = err
		} else if n = min(n, l.most); n > most {
			where, most = sub, n
		}
	}
	if where == nil {
		return nil, refused
	}
	if s.limits.extra > 0 && where.free() > most {
		s.limits.extra--
		most++
	}
	r := &reservation{id: s.id("r"), launch: l}
	for n := range most {
		r.instances = append(r.instances, s.start(r, where, n, now))
	}
	if l.token != "" {
		s.tokens[l.token] = r
	}
	return r, nil
}

// start makes one instance.
func (s *Server) start(r *reservation, sub *subnet, index int, now time.Time) *instance {
	l := r.launch
	i := &instance{
		id: s.id("i"), index: index, reservation: r, launch: l, subnet: sub, imds: l.imds, protected: l.protected,
		tags:     tags(nil).with(l.tags["instance"], now),
		launched: now, runs: now.Add(s.opts.Pending),
		impaired: map[Check]time.Time{}, wake: make(chan struct{}, 1),
	}
	if l.address != "" {
		sub.forced = append([]netip.Addr{netip.MustParseAddr(l.address)}, sub.forced...)
	}
	i.private = sub.take()
	if public := l.public; public != nil && *public || public == nil && sub.public {
		i.public = s.network.public.take()
	}
	s.attach(i, now)
	if l.market == Spot {
		i.spot = &spotRequest{id: s.id("sir"), instance: i, created: now, tags: tags(nil).with(l.tags["spot-instances-request"], now)}
		s.spots = append(s.spots, i.spot)
	}
	if len(s.limits.doomed) > 0 {
		i.end(i.runs, 0, s.limits.doomed[0])
		i.runs = time.Time{}
		s.limits.doomed = s.limits.doomed[1:]
	}
	s.instances[i.id] = i
	s.launched = append(s.launched, i)
	s.live = append(s.live, i)
	if s.opts.Boot != nil {
		s.wg.Go(func() { s.boot(i) })
	}
	return i
}

// EndAtBoot makes each of the next n instances terminate at the moment when it should begin to run. reason is the code
// of a StateReason, such as "Client.InternalError", "Server.InsufficientInstanceCapacity" or
// "Client.VolumeLimitExceeded".
func (s *Server) EndAtBoot(n int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.limits.doomed = append(s.limits.doomed, reason)
	}
}

// Overshoot makes each of the next n launches start one instance more than it asks for, if there is an address left.
func (s *Server) Overshoot(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.extra = n
}

// boot runs Options.Boot for an instance, from its start to its end.
func (s *Server) boot(i *instance) {
	if !s.until(i, func() time.Time {
		if i.runs.IsZero() || !i.down().IsZero() && i.down().Before(i.runs) {
			return i.down()
		}
		return i.runs
	}) {
		return
	}
	s.mu.Lock()
	now := time.Now()
	runs := i.state(now, 0) == Running
	shown := s.snapshot(i, now)
	s.mu.Unlock()
	if !runs {
		return
	}
	if stop := s.opts.Boot(shown); stop != nil {
		s.until(i, i.down)
		stop()
	}
}

// until waits for a moment of an instance's life. The moment may change during the wait. until returns false if the
// server closes before.
func (s *Server) until(i *instance, moment func() time.Time) bool {
	for {
		s.mu.Lock()
		at := moment()
		s.mu.Unlock()
		wait := time.Duration(math.MaxInt64)
		if !at.IsZero() {
			wait = time.Until(at)
		}
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-i.wake:
		case <-s.closing:
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

// settle releases the resources of instances that have ended. Nothing else tells the network that time has passed.
func (s *Server) settle(now time.Time) {
	alive := s.live[:0]
	for _, i := range s.live {
		if i.public.IsValid() && (reached(i.ended, now) || reached(i.halted, now)) {
			s.network.public.release(i.public)
			i.public = netip.Addr{}
		}
		if !reached(i.ended, now) {
			alive = append(alive, i)
			continue
		}
		s.detach(i)
	}
	clear(s.live[len(alive):])
	s.live = alive
}

// find returns an instance. It panics if there is none, because a test knows its instances.
func (s *Server) find(id string) *instance {
	i := s.instances[id]
	if i == nil {
		panic(fmt.Sprintf("ec2test: there never was an instance %q", id))
	}
	return i
}

package ec2test

import (
	"time"
)

// The reasons for the end of an instance: the codes of a StateReason.
const (
	byUser   = "Client.UserInitiatedShutdown"
	byItself = "Client.InstanceInitiatedShutdown"
	byAWS    = "Server.ScheduledStop"
)

// outside changes an instance without a call of the API.
func (s *Server) outside(id string, do func(*instance, time.Time)) {
	now := s.lock()
	defer s.mu.Unlock()
	do(s.find(id), now)
}

// Terminate ends an instance, like a user of the console.
func (s *Server) Terminate(id string) { s.Kill(id, byUser) }

// Kill ends an instance. reason is the code of a StateReason, such as "Server.InternalError".
func (s *Server) Kill(id, reason string) {
	s.outside(id, func(i *instance, now time.Time) { i.end(now, s.opts.Ending, reason) })
}

// Shutdown powers an instance off from within. The launch request decides whether that ends or stops the instance. A
// spot instance always ends.
func (s *Server) Shutdown(id string) {
	s.outside(id, func(i *instance, now time.Time) {
		if i.launch.shutdown == "terminate" || i.spot != nil {
			i.end(now, s.opts.Ending, byItself)
		} else {
			i.stop(now, s.opts.Ending, byItself)
		}
	})
}

// Stop stops an instance, as AWS does when its hardware is retired. The instance stays stopped until it is terminated.
func (s *Server) Stop(id string) {
	s.outside(id, func(i *instance, now time.Time) { i.stop(now, s.opts.Ending, byAWS) })
}

func (i *instance) stop(now time.Time, takes time.Duration, reason string) {
	if state := i.state(now, 0); state != Pending && state != Running {
		return
	}
	i.stops, i.halted, i.reason = now, now.Add(takes), reason
	i.changed()
}

// Protect sets whether calls may terminate an instance.
func (s *Server) Protect(id string, protected bool) {
	s.outside(id, func(i *instance, _ time.Time) { i.protected = protected })
}

// IgnoreTerminations makes the next n calls that terminate an instance succeed without an effect.
func (s *Server) IgnoreTerminations(id string, n int) {
	s.outside(id, func(i *instance, _ time.Time) { i.ignored = n })
}

// Check is one of an instance's status checks.
type Check string

// The status checks.
const (
	SystemCheck   Check = "system"   // of the underlying machine
	InstanceCheck Check = "instance" // of the system on the instance
)

// Impair makes a status check of an instance fail.
func (s *Server) Impair(id string, c Check) {
	s.outside(id, func(i *instance, now time.Time) { i.impaired[c] = now })
}

// Recover undoes Impair.
func (s *Server) Recover(id string, c Check) {
	s.outside(id, func(i *instance, _ time.Time) { delete(i.impaired, c) })
}

// maintenance is a scheduled event.
type maintenance struct {
	id, code  string
	notBefore time.Time
}

// Schedule announces an event: "instance-reboot", "system-reboot", "system-maintenance", "instance-retirement" or
// "instance-stop". Nothing happens at that time; see Stop and Kill.
func (s *Server) Schedule(id, code string, notBefore time.Time) {
	s.outside(id, func(i *instance, _ time.Time) {
		i.events = append(i.events, maintenance{s.id("instance-event"), code, notBefore})
	})
}

// WriteConsole appends to an instance's console output, which GetConsoleOutput returns.
func (s *Server) WriteConsole(id, text string) {
	s.outside(id, func(i *instance, now time.Time) { i.console, i.printed = i.console+text, now })
}

// Instance is the real state of an instance.
type Instance struct {
	ID, ReservationID, ClientToken string
	Type, ImageID, Architecture    string
	Zone, SubnetID                 string
	SecurityGroups                 []string
	PrivateIP, PublicIP            string // "" = it has none, or none any more
	Market                         Market
	SpotRequestID                  string
	State                          State
	Reason                         string // the reason for its stop or end: the code of a StateReason
	Launched                       time.Time
	UserData                       []byte
	Tags                           map[string]string
	Metadata                       Metadata
	ShutdownBehavior               string    // stop, terminate
	Notice                         time.Time // the time at which AWS takes it back according to its metadata, if that was announced
	Rebalance                      time.Time // the time from which its metadata reports a higher risk
}

// snapshot returns the instance at a time after it was last settled.
func (s *Server) snapshot(i *instance, now time.Time) Instance {
	l := i.launch
	x := Instance{
		ID: i.id, ReservationID: i.reservation.id, ClientToken: l.token,
		Type: l.typ.name, ImageID: l.imageID, Architecture: l.typ.arch,
		Zone: i.subnet.zone, SubnetID: i.subnet.id, SecurityGroups: s.groupsOf(i),
		Market: l.market, State: i.state(now, 0), Launched: i.launched, UserData: l.userData,
		Tags: i.tags.asMap(), Metadata: i.imds, ShutdownBehavior: l.shutdown, Rebalance: i.rebalance,
	}
	if x.State != Pending && x.State != Running {
		x.Reason = i.reason
	}
	if x.State != Terminated {
		x.PrivateIP = i.private.String()
	}
	if i.public.IsValid() {
		x.PublicIP = i.public.String()
	}
	if i.spot != nil {
		x.SpotRequestID = i.spot.id
		if !i.spot.noticed.IsZero() {
			x.Notice = i.spot.noticed.Add(s.opts.Notice)
		}
	}
	return x
}

func (s *Server) groupsOf(i *instance) []string {
	if len(i.launch.groups) == 0 {
		return []string{SecurityGroup}
	}
	return i.launch.groups
}

// Instances returns the present state of every instance that was ever launched, in the order of launches.
func (s *Server) Instances() []Instance {
	now := s.lock()
	defer s.mu.Unlock()
	var all []Instance
	for _, i := range s.launched {
		all = append(all, s.snapshot(i, now))
	}
	return all
}

// Instance returns the present state of an instance.
func (s *Server) Instance(id string) Instance {
	now := s.lock()
	defer s.mu.Unlock()
	return s.snapshot(s.find(id), now)
}

package names

import "golang.org/x/time/rate"

// The bound of an asker's queries in time. Each query that is passed on takes entries in the table of connections, of the container and of
// the machine, as root's: the bounds of package wall do not count them for the session that asked. An entry of UDP stays for 30 seconds,
// so that an asker has about 4,000 at most for each server that is asked, which is what a session may have by its own connections.
const (
	perSecond = 100
	burst     = 1024
)

// inRate reports whether a query is answered, and counts it.
func (s *Server) inRate(from asker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.rates[from]
	if l == nil {
		for other, l := range s.rates { // those that have not asked for a while are as if they were new
			if l.Tokens() >= float64(l.Burst()) {
				delete(s.rates, other)
			}
		}
		times := 1
		if !from.known {
			times = 2
		}
		l = rate.NewLimiter(rate.Limit(s.PerSecond)*rate.Limit(times), s.Burst*times)
		s.rates[from] = l
	}
	return l.Allow()
}

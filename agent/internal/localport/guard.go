package localport

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/berth-go/berth/agent/internal/pause"
)

// Few is how many ports or sockets a session may have without being ended, even if no other session has as many.
const Few = 1000

// explained is a number of ports. If the sessions have made sockets with so many, these are why none are left. The sockets that
// sessions hold are not counted then, because that costs more.
const explained = 10_000

const (
	lookAgain = time.Second            // between two looks at whether ports are left
	freeing   = 500 * time.Millisecond // that the kernel may take to free the ports of processes that have ended
	maxQuiet  = 8 * time.Second        // between two counts of each session's ports, if no session has many
)

// A Session is what a Guard knows of a session.
type Session struct {
	ID  string
	UID int
	// Sockets counts the sockets that its processes hold, and those that they have sent and that were not received. nil = they cannot
	// be counted.
	Sockets func(context.Context) (int, error)
	// End ends its processes, and returns when no socket of theirs is open any more. reason is for its user.
	End func(ctx context.Context, reason string) error
}

// A Guard ends the processes of the sessions that have used up the local ports. Its fields are set before its use.
type Guard struct {
	Left     func() bool                    // package's Left
	Ports    func() (map[uint32]int, error) // sockdiag.Ports
	Sessions func() []Session               // that are open
	Log      *slog.Logger

	turn  chan struct{} // has one place, for the call of Free that works; protects what follows
	quiet time.Duration // after a count that found no session to end; 0 = the last one has found one
	until time.Time     // the end of quiet
}

// NewGuard returns a guard with the kernel's own answers.
func NewGuard(ports func() (map[uint32]int, error), sessions func() []Session, log *slog.Logger) *Guard {
	return &Guard{Left: Left, Ports: ports, Sessions: sessions, Log: log, turn: make(chan struct{}, 1)}
}

// Run looks every second until ctx ends, while there are sessions.
func (g *Guard) Run(ctx context.Context) {
	for pause.Sleep(ctx, lookAgain) == nil {
		g.Free(ctx)
	}
}

// Free returns when ports are left, or when no session has Few. While none are left, it ends the session that has most. The port of
// a socket counts for the session that made the socket, even if it has given it to another one. The kernel does not name the maker of
// each socket, so the sockets that a session holds count for it, too.
func (g *Guard) Free(ctx context.Context) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-g.turn }()
	sessions := g.Sessions()
	if len(sessions) == 0 || g.Left() {
		g.quiet = 0
		return
	}
	if g.quiet > 0 && time.Now().Before(g.until) {
		return
	}
	for counts := g.count(ctx, sessions); len(counts) > 0; {
		most := 0
		for i, n := range counts {
			if n > counts[most] {
				most = i
			}
		}
		if counts[most] < Few {
			break
		}
		g.end(ctx, sessions[most], counts[most])
		if g.freed(ctx) {
			g.quiet = 0
			return
		}
		sessions = slices.Delete(sessions, most, most+1)
		counts = g.count(ctx, sessions)
	}
	g.quiet = min(max(2*g.quiet, lookAgain), maxQuiet)
	g.until = time.Now().Add(g.quiet)
	g.Log.Warn("the container's local ports are used up, and no session has many of them", "next", g.quiet)
}

func (g *Guard) end(ctx context.Context, s Session, n int) {
	reason := fmt.Sprintf("the container's local ports were used up, and the session had most of them, with %d sockets", n)
	g.Log.Warn("the processes of a session are ended: "+reason, "session", s.ID, "uid", s.UID)
	if err := s.End(ctx, reason); err != nil {
		g.Log.Warn("the processes of a session that has used up the local ports cannot be ended", "session", s.ID, "error", err)
	}
}

// freed waits until ports are left.
func (g *Guard) freed(ctx context.Context) bool {
	for end := time.Now().Add(freeing); ; {
		if g.Left() {
			return true
		}
		if time.Now().After(end) || pause.Sleep(ctx, 10*time.Millisecond) != nil {
			return false
		}
	}
}

// count counts what each session has: the ports of sockets that it made, or the sockets that it holds, whichever is more.
func (g *Guard) count(ctx context.Context, sessions []Session) []int {
	byUID, err := g.Ports()
	if err != nil {
		g.Log.Warn("the kernel does not tell which sessions have the local ports", "error", err)
	}
	counts, sum := make([]int, len(sessions)), 0
	for i, s := range sessions {
		counts[i] = byUID[uint32(s.UID)]
		sum += counts[i]
	}
	for i, s := range sessions {
		if sum >= explained || s.Sockets == nil {
			continue
		}
		held, err := s.Sockets(ctx)
		if err != nil {
			g.Log.Warn("the sockets of a session cannot be counted", "session", s.ID, "error", err)
		}
		counts[i] = max(counts[i], held)
	}
	return counts
}

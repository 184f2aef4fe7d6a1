package daemon

import (
	"context"
	"time"

	"github.com/berth-go/berth/agent/internal/localport"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/sockdiag"
)

// endTime bounds how long the processes of a session may take to end.
const endTime = 20 * time.Second

// newGuard returns what keeps the local ports of the container from being used up.
func newGuard(d *Daemon) *localport.Guard {
	return localport.NewGuard(sockdiag.Ports, func() (all []localport.Session) {
		for _, s := range d.sessions.all() {
			one := localport.Session{ID: s.ID, UID: s.UID, End: s.endProcesses}
			if s.room != nil {
				one.Sockets = s.room.Sockets
			}
			all = append(all, one)
		}
		return all
	}, d.Log)
}

// endProcesses ends the processes of a session. It goes on with others.
func (s *session) endProcesses(ctx context.Context, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	if s.room != nil {
		return s.room.End(ctx, reason)
	}
	return proc.KillUser(ctx, s.UID)
}

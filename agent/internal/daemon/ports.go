package daemon

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/berth-go/berth/agent/internal/localport"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/sockdiag"
	"github.com/berth-go/berth/agent/internal/wire"
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

// listPorts answers with the ports on which a session listens.
func (ss *sessions) listPorts(r *request) error {
	s, err := ss.get(r.values["id"])
	if err != nil {
		return err
	}
	all, err := sockdiag.Listeners()
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(l sockdiag.Listener) bool { return int(l.UID) != s.UID })
	sockets := make(map[uint64]proc.Holder, len(all))
	for _, l := range all {
		sockets[l.Inode] = proc.Holder{}
	}
	proc.FindHolders(s.UID, sockets)
	ports := make([]wire.Port, len(all))
	for i, l := range all {
		ports[i] = wire.Port{Addr: l.Addr, Pid: sockets[l.Inode].Pid, Program: sockets[l.Inode].Name}
	}
	slices.SortFunc(ports, func(a, b wire.Port) int {
		return cmp.Or(cmp.Compare(a.Addr.Port(), b.Addr.Port()), a.Addr.Compare(b.Addr))
	})
	return writeJSON(r, ports)
}

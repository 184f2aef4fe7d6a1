package reach

import (
	"net"
	"syscall"

	"github.com/berth-go/berth/agent/internal/sockdiag"
)

// mayBeGit reports whether the other side of a connection over IPv4 may run under git's uid. The kernel tells, or, if it lacks its module
// inet_diag, its table of sockets. If neither does, the connection's token must decide. Connections of sessions are so cut off before
// they take up anything.
func (d *Dialer) mayBeGit(conn net.Conn) bool {
	peer, ok := conn.RemoteAddr().(*net.TCPAddr)
	own, alsoOK := conn.LocalAddr().(*net.TCPAddr)
	if !ok || !alsoOK {
		return false
	}
	if !d.Tells() {
		uid, known, err := d.table.Owner(peer.AddrPort(), own.AddrPort())
		return err != nil || known && int(uid) == d.UID
	}
	uid, known := sockdiag.Owner(syscall.IPPROTO_TCP, peer.AddrPort(), own.AddrPort())
	return !known || int(uid) == d.UID
}

// Package sockdiag asks the kernel who has a socket.
package sockdiag

import (
	"encoding/binary"
	"net/netip"
	"syscall"
)

// The numbers and offsets are those of linux/inet_diag.h and linux/sock_diag.h.
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	diagRequestSize  = 16 + 56 // nlmsghdr and inet_diag_req_v2
	diagMessagePort  = 4       // the offsets of the local port and of the uid in inet_diag_msg
	diagMessageUID   = 64
	diagMessageSize  = 72
	noCookie         = 1<<32 - 1
)

// Owner returns the uid of the socket of IPv4 at local that is connected with remote. protocol is syscall.IPPROTO_TCP or
// IPPROTO_UDP. known is false if there is no such socket any more, and where the kernel does not tell.
func Owner(protocol byte, local, remote netip.AddrPort) (uid uint32, known bool) {
	if protocol == syscall.IPPROTO_UDP { // for UDP, the kernel takes the source for that of a packet to the socket
		local, remote = remote, local
	}
	fd, err := open()
	if err != nil {
		return 0, false
	}
	defer syscall.Close(fd)
	r := newRequest(syscall.AF_INET, protocol, 0)
	binary.BigEndian.PutUint16(r[24:], local.Port())
	binary.BigEndian.PutUint16(r[26:], remote.Port())
	copy(r[28:], local.Addr().Unmap().AsSlice())
	copy(r[44:], remote.Addr().Unmap().AsSlice())
	binary.NativeEndian.PutUint32(r[64:], noCookie)
	binary.NativeEndian.PutUint32(r[68:], noCookie)
	if syscall.Sendto(fd, r, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}) != nil {
		return 0, false
	}
	buffer := make([]byte, 4<<10)
	n, _, err := syscall.Recvfrom(fd, buffer, 0)
	if err != nil {
		return 0, false
	}
	messages, err := syscall.ParseNetlinkMessage(buffer[:n])
	if err != nil || len(messages) == 0 || messages[0].Header.Type != sockDiagByFamily || len(messages[0].Data) < diagMessageSize {
		return 0, false
	}
	return binary.NativeEndian.Uint32(messages[0].Data[diagMessageUID:]), true
}

// open returns a socket of the kernel's, which answers within a second.
func open() (fd int, err error) {
	fd, err = syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return -1, err
	}
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 1}); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// newRequest returns a request for sockets of any state, without addresses.
func newRequest(family, protocol byte, flags uint16) []byte {
	r := make([]byte, diagRequestSize)
	binary.NativeEndian.PutUint32(r[0:], diagRequestSize)
	binary.NativeEndian.PutUint16(r[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(r[6:], syscall.NLM_F_REQUEST|flags)
	r[16], r[17] = family, protocol
	binary.NativeEndian.PutUint32(r[20:], 1<<32-1)
	return r
}

package git

import (
	"encoding/binary"
	"slices"
	"syscall"
)

// silent reports whether a uid has established TCP connections, and none of them has received a byte. It is false where
// the kernel does not tell, which needs its module inet_diag.
func silent(uid int) bool {
	var all []received
	for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
		some, err := established(family)
		if err != nil {
			return false
		}
		all = append(all, some...)
	}
	all = slices.DeleteFunc(all, func(r received) bool { return r.uid != uint32(uid) })
	return len(all) > 0 && !slices.ContainsFunc(all, func(r received) bool { return r.bytes > 0 })
}

// received is how many bytes a connection of a uid has received.
type received struct {
	uid   uint32
	bytes uint64
}

// The numbers and offsets are those of linux/inet_diag.h, linux/sock_diag.h and linux/tcp.h.
const (
	netlinkSockDiag   = 4
	sockDiagByFamily  = 20
	inetDiagInfo      = 2       // the attribute that holds a tcp_info
	stateEstablished  = 1 << 1  // as a bit of a set
	diagRequestSize   = 16 + 56 // nlmsghdr and inet_diag_req_v2
	diagMessageSize   = 72      // inet_diag_msg, without attributes
	diagMessageUID    = 64
	infoBytesReceived = 128 // tcpi_bytes_received, of Linux 4.1 and later
)

// established asks the kernel for the established TCP connections of this network namespace.
func established(family byte) (all []received, err error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 1}); err != nil {
		return nil, err
	}
	request := make([]byte, diagRequestSize)
	binary.NativeEndian.PutUint32(request[0:], diagRequestSize)
	binary.NativeEndian.PutUint16(request[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(request[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	request[16], request[17], request[18] = family, syscall.IPPROTO_TCP, 1<<(inetDiagInfo-1)
	binary.NativeEndian.PutUint32(request[20:], stateEstablished)
	if err := syscall.Sendto(fd, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, err
	}
	buffer := make([]byte, 64<<10)
	for {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case syscall.NLMSG_DONE:
				return all, nil
			case syscall.NLMSG_ERROR:
				return nil, syscall.EOPNOTSUPP
			}
			r, ok := parseConnection(m.Data)
			if !ok {
				return nil, syscall.EOPNOTSUPP
			}
			all = append(all, r)
		}
	}
}

// parseConnection reads an inet_diag_msg and the tcp_info among its attributes, each of which has its length and its type
// in two bytes each, and is padded to four.
func parseConnection(data []byte) (received, bool) {
	if len(data) < diagMessageSize {
		return received{}, false
	}
	r := received{uid: binary.NativeEndian.Uint32(data[diagMessageUID:])}
	for rest := data[diagMessageSize:]; len(rest) >= 4; {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < 4 || size > len(rest) {
			return received{}, false
		}
		if value := rest[4:size]; binary.NativeEndian.Uint16(rest[2:]) == inetDiagInfo && len(value) >= infoBytesReceived+8 {
			r.bytes = binary.NativeEndian.Uint64(value[infoBytesReceived:])
			return r, true
		}
		rest = rest[min(len(rest), (size+3)&^3):]
	}
	return received{}, false
}

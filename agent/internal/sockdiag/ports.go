package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
)

// Ports counts the local ports of each uid's sockets in this network namespace, for TCP and UDP together. The uid is that of the
// process that made the socket, even if another one has it by now. Before Linux 6.8 it leaves out sockets of TCP that are only bound. The kernel
// knows no owner of connections that no process has any more.
func Ports() (map[uint32]int, error) {
	counts := make(map[uint32]int)
	for _, protocol := range []byte{syscall.IPPROTO_TCP, syscall.IPPROTO_UDP} {
		used := make(map[uint32]*ports)
		for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
			err := list(family, protocol, func(uid uint32, port uint16) {
				if used[uid] == nil {
					used[uid] = new(ports)
				}
				if used[uid].add(port) {
					counts[uid]++
				}
			})
			if err != nil && !errors.Is(err, syscall.ENOENT) { // the kernel lacks the family or the protocol
				return nil, fmt.Errorf("listing sockets: %w", err)
			}
		}
	}
	return counts, nil
}

// ports is a set of ports.
type ports [1 << 16 / 64]uint64

// add reports whether a port is new.
func (p *ports) add(port uint16) bool {
	word, bit := &p[port/64], uint64(1)<<(port%64)
	is := *word&bit != 0
	*word |= bit
	return !is && port != 0
}

// list calls a function for each socket.
func list(family, protocol byte, each func(uid uint32, port uint16)) error {
	return dump(newRequest(family, protocol, syscall.NLM_F_DUMP), func(data []byte) {
		each(binary.NativeEndian.Uint32(data[diagMessageUID:]), binary.BigEndian.Uint16(data[diagMessagePort:]))
	})
}

// dump calls a function for each message about a socket that answers a request.
func dump(request []byte, each func(data []byte)) error {
	fd, err := open()
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := syscall.Sendto(fd, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	for buffer := make([]byte, 32<<10); ; {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == syscall.NLMSG_DONE:
				return nil
			case m.Header.Type == syscall.NLMSG_ERROR && len(m.Data) >= 4:
				return syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
			case m.Header.Type == sockDiagByFamily && len(m.Data) >= diagMessageSize:
				each(m.Data)
			}
		}
	}
}

// Package localport keeps the sessions of a container from using up its local ports, which all of them share.
package localport

import (
	"errors"
	"syscall"
)

// spare is how many ports of TCP and of UDP must be left. Each is taken for a moment to see that.
const spare = 16

// Left reports whether there are local ports that the kernel can give to a socket of any address of IPv4 and IPv6, for TCP and
// UDP. It reports true if it cannot know.
func Left() bool {
	return left(syscall.SOCK_STREAM) && left(syscall.SOCK_DGRAM)
}

func left(kind int) bool {
	fds := make([]int, 0, spare)
	defer func() {
		for _, fd := range fds {
			syscall.Close(fd)
		}
	}()
	for range spare {
		var any syscall.Sockaddr = new(syscall.SockaddrInet6)
		fd, err := syscall.Socket(syscall.AF_INET6, kind|syscall.SOCK_CLOEXEC, 0)
		if err == nil { // else the kernel has no IPv6
			err = syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0)
		} else {
			any = new(syscall.SockaddrInet4)
			fd, err = syscall.Socket(syscall.AF_INET, kind|syscall.SOCK_CLOEXEC, 0)
		}
		if err != nil {
			return true
		}
		fds = append(fds, fd)
		if err := syscall.Bind(fd, any); err != nil {
			return !errors.Is(err, syscall.EADDRINUSE)
		}
	}
	return true
}

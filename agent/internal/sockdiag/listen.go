package sockdiag

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// A Listener is a socket of TCP that listens.
type Listener struct {
	Addr  netip.AddrPort
	UID   uint32 // of the process that made the socket
	Inode uint64 // tells the socket from all others
}

const (
	stateListens     = 10 // TCP_LISTEN
	diagMessageSrc   = 8
	diagMessageInode = 68
)

// Listeners returns the sockets of TCP that listen in this network namespace.
func Listeners() (all []Listener, err error) {
	for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
		r := newRequest(family, syscall.IPPROTO_TCP, syscall.NLM_F_DUMP)
		binary.NativeEndian.PutUint32(r[20:], 1<<stateListens)
		err := dump(r, func(data []byte) {
			n := 4
			if family == syscall.AF_INET6 {
				n = 16
			}
			addr, _ := netip.AddrFromSlice(data[diagMessageSrc : diagMessageSrc+n])
			all = append(all, Listener{
				Addr:  netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(data[diagMessagePort:])),
				UID:   binary.NativeEndian.Uint32(data[diagMessageUID:]),
				Inode: uint64(binary.NativeEndian.Uint32(data[diagMessageInode:])),
			})
		})
		if err != nil { // the kernel lacks the family, or its module inet_diag
			return listenersOfTables()
		}
	}
	return all, nil
}

// listenersOfTables reads the kernel's tables, which takes milliseconds if there are many connections.
func listenersOfTables() (all []Listener, err error) {
	listens := fmt.Sprintf("%02X", stateListens)
	err = eachInTables(func(fields []string) {
		if fields[3] != listens {
			return
		}
		addr, ok := fromTable(fields[1])
		uid, err := strconv.ParseUint(fields[7], 10, 32)
		inode, err2 := strconv.ParseUint(fields[9], 10, 64)
		if ok && err == nil && err2 == nil {
			all = append(all, Listener{Addr: addr, UID: uint32(uid), Inode: inode})
		}
	})
	return all, err
}

// eachInTables calls a function with the fields of each socket of TCP.
func eachInTables(each func(fields []string)) error {
	for i, name := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			continue // the kernel has no IPv6
		}
		if err != nil {
			return fmt.Errorf("listing sockets: %w", err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if fields := strings.Fields(lines.Text()); len(fields) >= 10 {
				each(fields)
			}
		}
		f.Close()
		if err := lines.Err(); err != nil {
			return fmt.Errorf("listing sockets: %w", err)
		}
	}
	return nil
}

// fromTable returns an address that a table has, in words of the machine's order.
func fromTable(text string) (addr netip.AddrPort, ok bool) {
	host, port, _ := strings.Cut(text, ":")
	words, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(words)%4 != 0 {
		return addr, false
	}
	for i := 0; i < len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	ip, ok := netip.AddrFromSlice(words)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ok
}

// OwnerInTable returns the uid of the socket of TCP at local that is connected with remote, by the kernel's tables. It is 0 if there is
// no such socket, or if no process has it yet.
func OwnerInTable(local, remote netip.AddrPort) (uid uint32, err error) {
	err = eachInTables(func(fields []string) {
		l, ok := fromTable(fields[1])
		r, ok2 := fromTable(fields[2])
		if n, err := strconv.ParseUint(fields[7], 10, 32); err == nil && ok && ok2 && l == local && r == remote {
			uid = uint32(n)
		}
	})
	return uid, err
}

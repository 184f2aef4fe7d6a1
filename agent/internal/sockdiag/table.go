package sockdiag

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Tells reports whether the kernel has what Owner needs for TCP, its module inet_diag.
func Tells() bool {
	return list(syscall.AF_INET, syscall.IPPROTO_TCP, func(uint32, uint16) {}) == nil
}

// A Table tells the owners of sockets of TCP by the kernel's table of them, which takes milliseconds to read. Callers that come while it
// is read share the next reading. The zero value is ready for use.
type Table struct {
	turn sync.Mutex // protects a reading, and what it has found

	mu      sync.Mutex // protects waiting
	waiting []*lookup
}

type lookup struct {
	local, remote netip.AddrPort
	done          bool
	uid           uint32
	known         bool
	err           error
}

// Owner is Owner of TCP. known is false if there is no such socket any more. It returns an error if the table cannot be read.
func (t *Table) Owner(local, remote netip.AddrPort) (uid uint32, known bool, err error) {
	l := &lookup{local: local, remote: remote}
	t.mu.Lock()
	t.waiting = append(t.waiting, l)
	t.mu.Unlock()
	t.turn.Lock()
	defer t.turn.Unlock()
	if !l.done {
		t.mu.Lock()
		all := t.waiting
		t.waiting = nil
		t.mu.Unlock()
		err := find(all)
		for _, l := range all {
			l.done, l.err = true, err
		}
	}
	return l.uid, l.known, l.err
}

// find reads the tables. Sockets of IPv6 may be connected by IPv4.
func find(all []*lookup) error {
	for _, table := range []struct{ name, before string }{
		{"/proc/thread-self/net/tcp", ""}, {"/proc/thread-self/net/tcp6", fmt.Sprintf("%016X%08X", 0, binary.NativeEndian.Uint32([]byte{0, 0, 0xff, 0xff}))},
	} {
		wanted := make(map[string]*lookup)
		for _, l := range all {
			wanted[inTable(table.before, l.local)+" "+inTable(table.before, l.remote)] = l
		}
		f, err := os.Open(table.name)
		if errors.Is(err, fs.ErrNotExist) && table.before != "" {
			continue // the kernel has no IPv6
		}
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 8 {
				continue
			}
			if l := wanted[fields[1]+" "+fields[2]]; l != nil {
				uid, err := strconv.ParseUint(fields[7], 10, 32)
				l.uid, l.known = uint32(uid), err == nil
			}
		}
		f.Close()
		if err := lines.Err(); err != nil {
			return err
		}
	}
	return nil
}

// inTable returns an address of IPv4 as the table has it, with what stands before it.
func inTable(before string, a netip.AddrPort) string {
	bytes := a.Addr().Unmap().As4()
	return fmt.Sprintf("%s%08X:%04X", before, binary.NativeEndian.Uint32(bytes[:]), a.Port())
}

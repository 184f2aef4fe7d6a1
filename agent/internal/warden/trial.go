package warden

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/room"
)

// A trial opens a room in the warden's own container, with a filter that allows everything, and reads the filter back. What
// fails here would fail in every container.

// newTrial returns the warden's own container. The caller closes it.
func newTrial() (*container, error) {
	pid := os.Getpid()
	pidfd, err := pidfdOpen(pid)
	if err != nil {
		return nil, err
	}
	c := &container{
		peer: &peer{pid: pid, pidfd: pidfd}, hidden: nil, init: []string{"/proc/self/exe", "room", trialCommand}, self: true,
		rooms: make(map[string]*lock), quotas: func() bool { return false },
	}
	if c.status, err = readStatus(pid); err != nil {
		c.close()
		return nil, err
	}
	c.ready = sync.OnceValue(c.prepareTrial)
	c.idle = time.AfterFunc(time.Hour, c.retire)
	c.idle.Stop()
	return c, nil
}

func try() (err error) {
	c, err := newTrial()
	if err != nil {
		return err
	}
	defer c.close()
	defer c.retire()
	id := fmt.Sprintf("trial-%d", os.Getpid()) // others may try at the same time
	control, pid, err := c.open(context.Background(), room.Spec{ID: id, Limits: room.Limits{MemoryBytes: 64 << 20, PIDs: 64, CPUWeight: usualWeight}})
	if err != nil {
		return err
	}
	defer control.Close()
	defer func() { err = errors.Join(err, c.closeRoom(context.Background(), id)) }()
	if !slices.Contains(c.inside(id), pid) {
		return errors.New("the init of a trial room is not in its cgroup")
	}
	filters, err := readFilters(pid)
	if err != nil {
		return err
	}
	if len(filters) != 1+c.filters {
		return errors.New("the init of a trial room has lost its seccomp filter")
	}
	return nil
}

// trialCommand is the argument that makes Enter the init of a trial room.
const trialCommand = "trial"

const capSysAdmin = 21

// prepareTrial is prepare for the warden's own container, which is not confined.
func (c *container) prepareTrial() (err error) {
	p := profile{Filters: []filter{{Program: allowAll}}, OOM: "0"}
	for name, set := range map[string]*uint64{"CapBnd": &p.Bounding, "CapPrm": &p.Permitted, "CapEff": &p.Effective} {
		if *set, err = c.status.caps(name); err != nil {
			return err
		}
		*set &^= 1 << capSysAdmin // as agents lack it
	}
	return c.prepareWith(&p)
}

// allowAll is a seccomp filter of one instruction, which returns SECCOMP_RET_ALLOW.
var allowAll = binary.NativeEndian.AppendUint32([]byte{6, 0, 0, 0}, 0x7fff0000)

// waitForEnd is the init of a trial room. It ends with its control socket.
func waitForEnd() error {
	for {
		if _, err := syscall.Read(controlFD, make([]byte, 1)); err != syscall.EINTR {
			return nil
		}
	}
}

package dockerengine

import (
	"testing"

	"github.com/moby/moby/api/types/container"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

func TestCgroupNamespace(t *testing.T) {
	for two, want := range map[bool]container.CgroupnsMode{true: container.CgroupnsModePrivate, false: container.CgroupnsModeEmpty} {
		if got := (machine{cgroup2: two}).cgroupNamespace(); got != want {
			t.Errorf("with version 2 %t: %q, want %q", two, got, want)
		}
	}
}

func TestLimitsOnAMachine(t *testing.T) {
	const mib, gib = int64(1 << 20), int64(1 << 30)
	machineOf := func(memory int64) machine { return machine{memory: memory, boundsMemory: true, boundsSwap: true} }
	defaults := agent.SessionLimits{
		CPUWeight: 100, TmpBytes: gib, VarTmpBytes: gib, ShmBytes: gib, Inodes: 100_000, PTYs: 64,
	}
	session := func(memory, shm int64) agent.SessionLimits {
		s := defaults
		s.MemoryBytes, s.ShmBytes = memory, shm
		return s
	}
	for name, c := range map[string]struct {
		limits   orchestrator.Limits
		sessions int
		on       machine
		memory   int64 // of the container
		shm      int64
		session  agent.SessionLimits
	}{
		"a small machine keeps 512 MiB": {
			on: machineOf(4 * gib), sessions: 2, memory: 3584 * mib, shm: gib, session: session(1792*mib, 896*mib),
		},
		"a large machine keeps a tenth": {
			on: machineOf(100 * gib), sessions: 10, memory: 90 * gib, shm: gib, session: session(9*gib, gib),
		},
		"a tiny machine keeps half": {
			on: machineOf(512 * mib), sessions: 1, memory: 256 * mib, shm: 128 * mib, session: session(256*mib, 128*mib),
		},
		"a session has 256 MiB at least": {
			on: machineOf(4 * gib), sessions: 100, memory: 3584 * mib, shm: gib, session: session(256*mib, 128*mib),
		},
		"and never more than the container": {
			on: machineOf(4 * gib), sessions: 2, limits: orchestrator.Limits{MemoryBytes: 100 * mib},
			memory: 100 * mib, shm: 50 * mib, session: session(100*mib, 50*mib),
		},
		"sessions divide a container that is smaller than the machine": {
			on: machineOf(100 * gib), sessions: 10, limits: orchestrator.Limits{MemoryBytes: 10 * gib},
			memory: 10 * gib, shm: gib, session: session(gib, 512*mib),
		},
		"a container without a limit does not enlarge a session": {
			on: machineOf(100 * gib), sessions: 10, limits: orchestrator.Limits{MemoryBytes: -1},
			memory: 0, shm: gib, session: session(9*gib, gib),
		},
		"an engine that cannot bound memory gets no default": {
			on: machine{memory: 4 * gib}, sessions: 2, memory: 0, shm: gib, session: session(0, gib),
		},
		"no limits at all": {
			on: machineOf(4 * gib), sessions: 2,
			limits: orchestrator.Limits{
				MemoryBytes: -1, CPUs: -1, PIDs: -1, TmpBytes: -1, ShmBytes: -1,
				Session: orchestrator.SessionLimits{
					MemoryBytes: -1, CPUWeight: -1, PIDs: -1, TmpBytes: -1, VarTmpBytes: -1, ShmBytes: -1, Inodes: -1, PTYs: -1,
				},
			},
			memory: 0, shm: 0, session: agent.SessionLimits{},
		},
		"those that are set": {
			on: machineOf(4 * gib), sessions: 2,
			limits: orchestrator.Limits{
				MemoryBytes: gib, ShmBytes: 2 * mib,
				Session: orchestrator.SessionLimits{
					MemoryBytes: gib, CPUWeight: 7, TmpBytes: 1, VarTmpBytes: 2, ShmBytes: 3, Inodes: 4, PTYs: 5,
				},
			},
			memory: gib, shm: 2 * mib,
			session: agent.SessionLimits{MemoryBytes: gib, CPUWeight: 7, TmpBytes: 1, VarTmpBytes: 2, ShmBytes: 3, Inodes: 4, PTYs: 5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := boundsOf(orchestrator.ContainerSpec{Limits: c.limits, Sessions: c.sessions}, c.on)
			if b.memory != c.memory || b.shm != c.shm {
				t.Errorf("the container has %d bytes of memory and %d of shared memory; want %d and %d", b.memory, b.shm, c.memory, c.shm)
			}
			if b.session != c.session {
				t.Errorf("a session has\n%+v; want\n%+v", b.session, c.session)
			}
			if b.session.MemoryBytes > 0 && b.memory > leastSessionMemory*int64(c.sessions) && c.limits.Session.MemoryBytes == 0 &&
				b.session.MemoryBytes*int64(c.sessions) > b.memory {
				t.Error("the sessions together may use more than the container has")
			}
		})
	}
}

func TestSwapIsOff(t *testing.T) {
	for _, c := range []struct {
		memory int64
		can    bool
		want   int64
	}{{1 << 30, true, 1 << 30}, {1 << 30, false, -1}, {0, true, 0}, {0, false, 0}} {
		if got := swapBound(c.memory, machine{boundsSwap: c.can}); got != c.want {
			t.Errorf("with %d bytes of memory, and an engine that bounds swap: %v: %d; want %d", c.memory, c.can, got, c.want)
		}
	}
}

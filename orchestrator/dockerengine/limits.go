package dockerengine

import (
	"cmp"

	"github.com/moby/moby/api/types/container"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// The defaults of orchestrator.Limits.
const (
	defaultTmp    = 1 << 30
	defaultShm    = 1 << 30
	defaultInodes = 100_000
	defaultPTYs   = 64
	defaultWeight = 100

	leastReserve       = 512 << 20 // of the machine's memory, for the system and the engine
	leastSessionMemory = 256 << 20
	maxProcesses       = 4_000_000 // a little less than the kernel's bound for a machine, which a limit must be below
)

// bounds are the limits of a container on one machine: a spec's, with the defaults. 0 = no limit.
type bounds struct {
	memory, tmp, shm int64
	pids             int64 // -1 = no limit
	cpus             float64
	ofSession        int // processes and threads of each session
	session          agent.SessionLimits
}

// boundsOf returns the bounds of a container on a machine.
func boundsOf(spec orchestrator.ContainerSpec, m machine) bounds {
	l, sessions := spec.Limits, int64(cmp.Or(spec.Sessions, usualSessions))
	b := bounds{cpus: max(l.CPUs, 0)}
	usable := int64(0) // not known, or the engine cannot bound memory
	if m.memory > 0 && m.boundsMemory {
		usable = max(m.memory-max(leastReserve, m.memory/10), m.memory/2)
	}
	b.memory = limit(l.MemoryBytes, usable)
	part := b.memory
	if usable > 0 && (part == 0 || part > usable) {
		part = usable
	}
	part /= sessions
	if part > 0 {
		part = max(part, leastSessionMemory)
	}
	if b.memory > 0 {
		part = min(part, b.memory)
	}
	s := l.Session
	b.session.MemoryBytes = limit(s.MemoryBytes, part)
	b.session.CPUWeight = int(limit(int64(s.CPUWeight), defaultWeight))
	b.session.TmpBytes, b.session.VarTmpBytes = limit(s.TmpBytes, defaultTmp), limit(s.VarTmpBytes, defaultTmp)
	b.session.ShmBytes = limit(s.ShmBytes, half(defaultShm, b.session.MemoryBytes))
	b.session.Inodes, b.session.PTYs = limit(s.Inodes, defaultInodes), int(limit(int64(s.PTYs), defaultPTYs))
	b.tmp, b.shm = limit(l.TmpBytes, defaultTmp), limit(l.ShmBytes, half(defaultShm, b.memory))
	b.pids, b.ofSession = processes(spec)
	return b
}

// limit returns the limit that a field sets: 0 is the default, -1 is none.
func limit(field, otherwise int64) int64 {
	if field < 0 {
		return 0
	}
	return cmp.Or(field, otherwise)
}

// half returns size, or half of the memory if that is less.
func half(size, memory int64) int64 {
	if memory > 0 {
		return min(size, memory/2)
	}
	return size
}

// shmSize returns the size of a container's /dev/shm in bytes. An engine takes 0 for its default of 64 MiB, with which Chromium
// crashes.
func (b bounds) shmSize(m machine) int64 { return cmp.Or(b.shm, b.memory, m.memory, defaultShm) }

// resources returns the limits of a container as an engine takes them. Of the ulimits, it only lowers one: an engine without
// CAP_SYS_RESOURCE cannot start a container with higher ulimits than its own, which are not known. The agent bounds each
// session within the ulimits that it finds.
func (b bounds) resources(m machine) container.Resources {
	return container.Resources{
		Memory:     b.memory,
		MemorySwap: swapBound(b.memory, m),
		NanoCPUs:   int64(b.cpus * 1e9),
		PidsLimit:  &b.pids,
		Ulimits:    noCoreDumps(),
	}
}

// cgroupNamespace returns the kind of a container's cgroup namespace. Without one of its own, a container on cgroups of version 2
// sees those of all containers, and a room those of its neighbours. Engines have it so unless they are configured otherwise.
func (m machine) cgroupNamespace() container.CgroupnsMode {
	if m.cgroup2 {
		return container.CgroupnsModePrivate
	}
	return container.CgroupnsModeEmpty
}

// swapBound returns the bound of memory and swap together, so that there is no swap: a process that swaps gets slow and does
// not end. An engine that cannot bound swap would warn of each container, unless it is told not to.
func swapBound(memory int64, m machine) int64 {
	if memory > 0 && !m.boundsSwap {
		return -1
	}
	return memory
}

// noCoreDumps returns the ulimit without which a process that crashes would write its secrets to a file. 1 byte is too
// little for a dump. It also keeps the kernel from passing the dump to a program of the machine, as it does with 0.
func noCoreDumps() []*container.Ulimit { return []*container.Ulimit{{Name: "core", Soft: 1, Hard: 1}} }

package orchestrator

import (
	"fmt"

	"github.com/berth-go/berth/agent"
)

// Limits bound what one container may use, with all its sessions, and what each session in it may use. In every field, 0
// is a default that is safe on the machine at hand, and -1 is no limit.
//
// Session has an effect only if the sessions have rooms (see Isolation), except that Session.PIDs, Session.DiskBytes and
// Session.DiskFiles always have. Without rooms
// the sessions of a container share what the container has: the kernel may end a process of one session because another
// has used up the memory, and TmpBytes and ShmBytes bound the directories that all of them use.
type Limits struct {
	// MemoryBytes includes the files in /tmp, /var/tmp and /dev/shm of rooms, and those in the container's own /tmp and
	// /dev/shm. There is no swap. 0 = the machine's memory less a tenth, or less 512 MiB if that is more, which is kept for
	// the system and the engine
	MemoryBytes int64
	// CPUs is the processor time that the container may use, in processors. 0 = no limit: sessions share what there is
	CPUs float64
	// PIDs is the largest number of processes and threads. 256 of them are for the agent, and 32 for the room of each
	// session. Each session may have an equal share of the others, 128 to 1024 of them, even if there are no other
	// sessions. So the sessions together cannot use up the container's processes, unless PIDs is less than 256 plus 160 for
	// each session. A share below 1024 also bounds the processes of all fetches on one instance together, of all its
	// containers.
	// 0 = 256, plus 32 and what each session may have, for all sessions that the instance has room for. -1 = no limit, and
	// 1024 for a session
	PIDs int64
	// TmpBytes is the size of the tmpfs on the container's /tmp, which sessions use that have no rooms. 0 = 1 GiB
	TmpBytes int64
	// ShmBytes is the size of the tmpfs on the container's /dev/shm, where browsers and databases share memory between
	// their processes. Sessions use it that have no rooms. It is at most MemoryBytes if that is set. A running container
	// keeps the size that it was made with. 0 = 1 GiB, or half of the container's memory if that is less
	ShmBytes int64

	Session SessionLimits
	// Repository bounds what the container's repository may be. A running container keeps the limits that it was made with
	Repository agent.RepositoryLimits
}

// SessionLimits bound what one session may use. See Limits for 0 and -1.
type SessionLimits struct {
	// MemoryBytes includes the session's files in /tmp, /var/tmp and /dev/shm. When it is used up, the kernel ends processes
	// of this session and of no other. 0 = an equal part of what the container may use, but never more than an equal part of
	// the machine's memory less what is kept for the system: the parts are as many as the instance has slots. So all
	// sessions of an instance together never need more than there is. It is at least 256 MiB, or the container's whole
	// memory if that is less. Set it to more if most tasks wait most of the time: then sessions can use up the container's
	// memory together, and the kernel may end a process of any of them
	MemoryBytes int64
	// CPUWeight is the session's weight when sessions of one container compete for processors, from 1 to 10000. A session
	// of weight 200 gets twice as much as one of weight 100. 0 = 100: all are equal. -1 = processes compete one by one, so
	// that a session with more of them gets more
	CPUWeight int
	// PIDs is the largest number of processes and threads. 0 = the share that Limits.PIDs says
	PIDs int64

	TmpBytes    int64 // size of the tmpfs on /tmp. 0 = 1 GiB
	VarTmpBytes int64 // size of the tmpfs on /var/tmp. 0 = 1 GiB
	ShmBytes    int64 // size of the tmpfs on /dev/shm. 0 = 1 GiB, or half of the session's memory if that is less
	Inodes      int64 // files, directories and links in each of the three. 0 = 100,000
	PTYs        int   // pseudo-terminals that are open at once. 0 = 64

	// DiskBytes is what the session may have on the disk: its checkout, its home and its TMPDIR, and files that it wrote in
	// directories of others. Holes in files do not count. Where the engine's file system has project quotas, a write over the
	// limit fails with EDQUOT, or with ENOSPC on XFS. Elsewhere the agent measures, and ends a session that is over it: see ErrOverLimit of package
	// berth. 0 = an equal part of the file system less a tenth of it: the parts are as many as the instance has slots. It is at
	// least 1 GiB, or half of the file system if that is less. The sessions of a container together may use the sum: a
	// container has no limit of its own. A running container keeps the limits of the disk that it was made with
	DiskBytes int64
	// DiskFiles is likewise the number of files, directories and links. 0 = an equal part of what the file system can hold less
	// a tenth, 100,000 to 4,000,000; no limit where the file system does not count them
	DiskFiles int64
}

// MaxCPUWeight is the largest SessionLimits.CPUWeight.
const MaxCPUWeight = 10000

// Check calls fault for each field that cannot be used, with the field's name, such as "Session.PIDs".
func (l Limits) Check(fault func(field, reason string)) {
	s := l.Session
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"MemoryBytes", float64(l.MemoryBytes)}, {"CPUs", l.CPUs}, {"PIDs", float64(l.PIDs)},
		{"TmpBytes", float64(l.TmpBytes)}, {"ShmBytes", float64(l.ShmBytes)},
		{"Session.MemoryBytes", float64(s.MemoryBytes)}, {"Session.CPUWeight", float64(s.CPUWeight)}, {"Session.PIDs", float64(s.PIDs)},
		{"Session.TmpBytes", float64(s.TmpBytes)}, {"Session.VarTmpBytes", float64(s.VarTmpBytes)}, {"Session.ShmBytes", float64(s.ShmBytes)},
		{"Session.Inodes", float64(s.Inodes)}, {"Session.PTYs", float64(s.PTYs)},
		{"Session.DiskBytes", float64(s.DiskBytes)}, {"Session.DiskFiles", float64(s.DiskFiles)},
	} {
		if !(f.value >= 0 || f.value == -1) { // also if it is no number
			fault(f.name, "must not be negative, except -1 for no limit")
		}
	}
	if s.CPUWeight > MaxCPUWeight {
		fault("Session.CPUWeight", fmt.Sprintf("must be at most %d", MaxCPUWeight))
	}
	for _, f := range []struct {
		name, whole      string
		value, container int64
	}{
		{"ShmBytes", "MemoryBytes", l.ShmBytes, l.MemoryBytes},
		{"Session.MemoryBytes", "MemoryBytes", s.MemoryBytes, l.MemoryBytes},
		{"Session.PIDs", "PIDs", s.PIDs, l.PIDs},
		{"Session.ShmBytes", "Session.MemoryBytes", s.ShmBytes, s.MemoryBytes},
	} {
		if f.container > 0 && f.value > f.container {
			fault(f.name, "must be at most Limits."+f.whole+", of which it is a part")
		}
	}
}

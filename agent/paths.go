package agent

import (
	"fmt"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/wire"
)

// The agent's files in a container. The creator of the container provides the first two as volumes. It provides the third as
// a tmpfs, or leaves it to the container's own file system.
const (
	ProgramDir  = "/berth/bin"    // holds Program; read-only, readable and executable for all
	MirrorDir   = "/berth/mirror" // a volume of its own; the agent owns its content
	RunDir      = "/berth/run"    // holds the socket
	SessionsDir = "/sessions"     // the agent empties it when it starts
	WardenDir   = "/berth/warden" // a volume that the warden writes and the containers read; holds the warden's socket
	Program     = ProgramDir + "/berth-agent"
)

// ServeOptions are the container's parameters.
type ServeOptions struct {
	// MaxProcesses is RLIMIT_NPROC of each session: how many processes and threads it may have. 0 = 1024.
	MaxProcesses int
	// OrphanTimeout ends the container after so long without a connected manager. 0 = 6 h, -1 = never.
	OrphanTimeout time.Duration
	// Repository bounds what a repository may be.
	Repository RepositoryLimits
	// Egress says which addresses fetches may connect to. The zero value refuses the special ranges of package egress.
	Egress Egress
	// Resolver makes the agent answer the sessions' look-ups, which otherwise go to the engine's resolver. It gives out no
	// name of another container, and no address that Egress refuses. It is of use together with walls that keep sessions
	// from the engine's resolver.
	Resolver bool
	// Warden says that a warden serves WardenDir: it puts up the walls of the container's network for Egress, each session gets
	// a room, and none is opened without. Otherwise sessions share what the container has, reach what it reaches, and Session
	// has no effect. Without walls, the agent ends with the exit code ExitNoWalls.
	Warden  bool
	Session SessionLimits
	Disk    DiskLimits
}

// DiskLimits bound what each session has on the disk, with rooms and without. 0 = an equal part of the file system, -1 = no limit:
// see orchestrator.SessionLimits.
type DiskLimits struct {
	Bytes, Files int64
	Parts        int // into how many the file system is divided for the defaults; 0 = 1
}

// SessionLimits bound what each session uses. 0 means no limit of that kind.
type SessionLimits struct {
	MemoryBytes                     int64 // of its processes, and of the files in memory that follow
	CPUWeight                       int   // its share of CPU time beside other sessions, 1 to 10000, as in cpu.weight
	TmpBytes, VarTmpBytes, ShmBytes int64 // of /tmp, /var/tmp and /dev/shm
	Inodes                          int64 // files and directories in each of the three
	PTYs                            int   // pseudo-terminals
}

// Egress is an egress policy as egress.Parse reads it.
type Egress struct {
	Mode    egress.Mode
	Allow   []string
	Remotes []string
}

// resolver is the address of the agent's resolver in a container. The engine's own is 127.0.0.11.
const resolver = "127.0.0.53"

// ExitNoWalls is the exit code of an agent whose warden could not put up the walls of the container's network.
const ExitNoWalls = wire.ExitNoWalls

// ServeCommand returns the command that is the first process of a container. It runs as root.
func ServeCommand(o ServeOptions) []string {
	args := []string{Program, "serve"}
	if o.MaxProcesses > 0 {
		args = append(args, fmt.Sprintf("-max-processes=%d", o.MaxProcesses))
	}
	if o.OrphanTimeout != 0 {
		args = append(args, fmt.Sprintf("-orphan-timeout=%v", max(o.OrphanTimeout, 0)))
	}
	if o.Egress.Mode != "" {
		args = append(args, "-egress="+string(o.Egress.Mode))
	}
	if o.Resolver {
		args = append(args, "-resolver="+resolver)
	}
	for _, item := range o.Egress.Allow {
		args = append(args, "-egress-allow="+item)
	}
	for _, item := range o.Egress.Remotes {
		args = append(args, "-egress-remote="+item)
	}
	for _, limit := range []struct {
		name  string
		value int64
	}{{"bytes", o.Disk.Bytes}, {"files", o.Disk.Files}, {"parts", int64(o.Disk.Parts)}} {
		if limit.value != 0 {
			args = append(args, fmt.Sprintf("-disk-%s=%d", limit.name, limit.value))
		}
	}
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"refs", o.Repository.Refs}, {"ref-bytes", o.Repository.RefBytes}, {"fetch-bytes", o.Repository.FetchBytes},
		{"checkout-files", o.Repository.Files}, {"checkout-bytes", o.Repository.Bytes}, {"checkout-depth", o.Repository.Depth},
	} {
		if limit.value != 0 {
			args = append(args, fmt.Sprintf("-repository-%s=%d", limit.name, limit.value))
		}
	}
	if o.Warden {
		args = append(args, "-warden="+WardenDir+"/warden.sock")
		for _, limit := range []struct {
			name string
			n    int64
		}{
			{"memory", o.Session.MemoryBytes}, {"cpu-weight", int64(o.Session.CPUWeight)}, {"tmp", o.Session.TmpBytes},
			{"var-tmp", o.Session.VarTmpBytes}, {"shm", o.Session.ShmBytes}, {"inodes", o.Session.Inodes}, {"ptys", int64(o.Session.PTYs)},
		} {
			if limit.n > 0 {
				args = append(args, fmt.Sprintf("-session-%s=%d", limit.name, limit.n))
			}
		}
	}
	return args
}

// WardenCommand returns the command that is the first process of the warden's container. It serves the rooms of an instance's
// containers. It runs as root, with WardenDir writable.
func WardenCommand() []string { return []string{Program, "warden"} }

// JoinCommand returns the command whose standard streams are a connection to the agent. It runs in the container, as root.
func JoinCommand() []string { return []string{Program, "join"} }

package agent

import (
	"fmt"
	"time"
)

// Where things are in a container. Whoever makes the container provides the first two as volumes and the third as a
// tmpfs, or leaves the third to the container's own file system.
const (
	ProgramDir  = "/berth/bin"    // holds Program; read-only, readable and executable for all
	MirrorDir   = "/berth/mirror" // a volume of its own; the agent takes it over
	RunDir      = "/berth/run"    // holds the socket
	SessionsDir = "/sessions"     // what is there is removed when the agent starts
	Program     = ProgramDir + "/berth-agent"
)

// ServeOptions are the container's parameters.
type ServeOptions struct {
	// MaxProcesses is RLIMIT_NPROC of each session: how many processes and threads it may have. 0 = 1024.
	MaxProcesses int
	// OrphanTimeout ends the container when no manager was connected for so long. 0 = 6 h, -1 = never.
	OrphanTimeout time.Duration
}

// ServeCommand returns the command of a container: its first process, as root.
func ServeCommand(o ServeOptions) []string {
	args := []string{Program, "serve"}
	if o.MaxProcesses > 0 {
		args = append(args, fmt.Sprintf("-max-processes=%d", o.MaxProcesses))
	}
	if o.OrphanTimeout != 0 {
		args = append(args, fmt.Sprintf("-orphan-timeout=%v", max(o.OrphanTimeout, 0)))
	}
	return args
}

// JoinCommand returns the command whose stdio is a connection to the agent, to be run in the container as root.
func JoinCommand() []string { return []string{Program, "join"} }

package daemon

import (
	"path/filepath"

	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// helper returns the command by which the agent's program serves the files of the session, or packs or unpacks its work. It gets nothing of
// what the session's commands have in their environment, and runs in a directory that the session cannot remove.
func (s *session) helper(d *Daemon, work string) (args, env [][]byte, dir []byte) {
	program := []string{d.Program, "files", s.place.Workdir}
	switch work {
	case "":
	case "pack":
		index := filepath.Join(d.places.Top(s.ID), place.IndexName)
		program = []string{d.Program, work, s.place.Workdir, index, s.place.Checkout.Commit}
	default:
		program[1] = work
		env = [][]byte{[]byte("PATH=" + d.places.Image.SafePath())}
	}
	for _, arg := range program {
		args = append(args, []byte(arg))
	}
	return args, env, []byte("/")
}

// resume lets the processes of a session continue, after the program for its work has died that may have stopped them.
func resume(d *Daemon, s *session, work string) {
	if work == "" {
		return
	}
	streams, err := openStreams(wire.Start{}, s.UID)
	if err == nil {
		var p *proc.Process
		if p, err = d.starter(s).Start(proc.Spec{Args: []string{d.Program, "resume"}, Dir: "/", UID: s.UID, Files: streams.child}); err == nil {
			defer func() { <-p.Done() }()
		}
		streams.closeChild()
	}
	if err != nil {
		d.Log.Error("the processes of a session cannot be resumed", "session", s.ID, "error", err)
	}
}

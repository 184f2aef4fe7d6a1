package dashboard

import (
	"context"
	"errors"
	"path"
	"slices"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store"
)

// commandRow is a command of a task.
type commandRow struct {
	ID          string    `json:"id"`
	Program     string    `json:"program"`            // the last element of its path
	Args        []string  `json:"args,omitempty"`     // if Options.ShowArguments allows, with the program as it was given
	Cut         bool      `json:"args_cut,omitempty"` // Args is the beginning
	Pid         int       `json:"pid,omitempty"`
	StartedAt   time.Time `json:"started_at"`
	EndedAt     time.Time `json:"ended_at,omitzero"`
	Took        seconds   `json:"took"`                // until now, if it runs
	ExitCode    *int      `json:"exit_code,omitempty"` // missing while it runs
	Signal      int       `json:"signal,omitempty"`
	OutOfMemory bool      `json:"out_of_memory,omitempty"`
	Stdout      int64     `json:"stdout_bytes"`
	Stderr      int64     `json:"stderr_bytes"`
}

// Line is what the page shows of the command.
func (r commandRow) Line() string {
	if len(r.Args) == 0 {
		return r.Program
	}
	text := ""
	for i, a := range r.Args {
		if i > 0 {
			text += " "
		}
		if text += a; len(text) > wholeText {
			break
		}
	}
	return text
}

// Code is its exit code, if it has ended.
func (r commandRow) Code() int {
	if r.ExitCode == nil {
		return 0
	}
	return *r.ExitCode
}

// Written is how much it has written.
func (r commandRow) Written() int64 { return r.Stdout + r.Stderr }

// commandsView has the commands of a task.
type commandsView struct {
	Running []commandRow `json:"running"` // in the order of their starts
	Ended   []commandRow `json:"ended"`   // the last one first
	More    int          `json:"more"`    // that are not in this answer
	Note    string       `json:"note,omitempty"`
}

const (
	askTimeout   = 2 * time.Second // an agent that does not answer holds a page up for so long
	mostCommands = 1000            // are read
	askAgain     = 5               // seconds; the pool does not change when a command begins or ends
)

// commands asks for the commands of the task that a viewer asks for. It returns nil if the viewer does not see it, or it has none.
func (s *server) commands(v *viewing) *commandsView {
	asks := false
	s.model.look(func(st *state) {
		t := st.tasks[v.q.id]
		asks = t != nil && scope{st, v.sees}.see(t) && t.State == store.SessionActive
	})
	if !asks {
		return nil
	}
	begun := time.Now()
	defer func() { v.waited += time.Since(begun) }()
	// The page may be for several viewers, of whom the first may leave.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), askTimeout)
	defer cancel()
	all, err := s.listCommands(ctx, v.q.id)
	c := &commandsView{Running: []commandRow{}, Ended: []commandRow{}}
	switch {
	case err == nil:
	case errors.Is(err, errors.ErrUnsupported):
		c.Note = "The container runs an agent of an older version, which cannot list them."
	case ctx.Err() != nil:
		c.Note = "They are not known now: the agent of the container does not answer."
	default:
		c.Note = "They are not known now: " + err.Error()
	}
	for _, info := range all {
		if row := s.commandRow(info, v.now); info.EndedAt.IsZero() {
			c.Running = append(c.Running, row)
		} else {
			c.Ended = append(c.Ended, row)
		}
	}
	slices.Reverse(c.Ended)
	most := max(v.q.most, 1)
	running, ended := min(len(c.Running), most), min(len(c.Ended), most)
	c.More = len(c.Running) - running + len(c.Ended) - ended
	c.Running, c.Ended = c.Running[:running], c.Ended[:ended]
	return c
}

// listCommands returns the commands of a session. With an error, it returns those that were read before.
func (s *server) listCommands(ctx context.Context, id string) (all []berth.CommandInfo, err error) {
	session, err := s.p.GetSession(ctx, id)
	if err != nil {
		return nil, err
	}
	for c, err := range session.Commands(ctx) {
		if err != nil || len(all) == mostCommands {
			return all, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (s *server) commandRow(c berth.CommandInfo, now time.Time) commandRow {
	row := commandRow{
		ID: c.ID, Pid: c.Pid, StartedAt: c.StartedAt.UTC(), Took: seconds(max(now.Sub(c.StartedAt), 0)), Signal: c.Signal,
		OutOfMemory: c.OutOfMemory, Stdout: c.Stdout, Stderr: c.Stderr,
	}
	if len(c.Args) > 0 {
		row.Program = path.Base(c.Args[0])
	}
	if s.opts.ShowArguments {
		row.Args, row.Cut = c.Args, c.ArgsCut
	}
	if !c.EndedAt.IsZero() {
		row.EndedAt, row.Took, row.ExitCode = c.EndedAt.UTC(), seconds(max(c.EndedAt.Sub(c.StartedAt), 0)), &c.ExitCode
	}
	return row
}

// bytesText shows a number of bytes.
func bytesText(n int64) string {
	const kb, mb, gb = 1e3, 1e6, 1e9
	switch f := float64(n); {
	case n == 0:
		return "–"
	case f < kb:
		return itoa(int(n)) + " B"
	case f < mb:
		return itoa(int(f/kb)) + " kB"
	case f < gb:
		return itoa(int(f/mb)) + " MB"
	}
	return itoa(int(float64(n)/gb)) + " GB"
}

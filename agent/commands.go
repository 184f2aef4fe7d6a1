package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// What an agent remembers of the commands of a session.
const (
	CommandPage   = wire.CommandPage   // the most commands that one call of Commands returns
	MostEnded     = wire.MostEnded     // the most ended commands of a session that are remembered
	MostArguments = wire.MostArguments // the most bytes of the arguments of one command that are remembered
	MostWords     = wire.MostWords     // the most arguments of one command that are remembered
	MostRecalled  = wire.MostRecalled  // the most bytes of the arguments of all ended commands of a session, except for the last one
)

// CommandInfo describes a command that was started.
type CommandInfo struct {
	Seq uint64 // its place in the order of the starts of its session, from 1
	ID  string // as Process.ID has it
	// Args are the program and its arguments, as Command.Args had them. They may hold secrets. ArgsCut says that they are not whole:
	// of the rest, the agent remembers nothing.
	Args    []string
	ArgsCut bool
	// Pid is the program's process, as the session's processes see it. 0 = it is not known.
	Pid     int
	Started time.Time // by this process's clock
	Ended   time.Time // zero = it runs
	Exit    Exit      // once it has ended
	// Stdout and Stderr count the bytes that it has written, whether or not a client has read them. What was written to a shared
	// stream counts as Stdout, and what was written to /dev/null does not count. The count may grow after the end of the program,
	// as long as a child of it holds the stream.
	Stdout, Stderr int64
	Detached       bool // see Command.Detached
}

// String returns the ID, without the arguments.
func (i CommandInfo) String() string { return "agent.CommandInfo " + i.ID }

// GoString is String.
func (i CommandInfo) GoString() string { return i.String() }

// LogValue implements slog.LogValuer: it is String.
func (i CommandInfo) LogValue() slog.Value { return slog.StringValue(i.String()) }

// Commands returns the commands of a session that were started after the one whose Seq is after, in the order of their starts; 0 means
// from the first on. It returns at most CommandPage, and fewer only if no others were started later. The agent remembers those
// that run, whichever client has started them, and the last that have ended: at most MostEnded, and MostRecalled bytes of
// arguments. It forgets them with the session. A command that could not be started is none.
//
// It returns ErrUnknownSession if the session is not open, and errors.ErrUnsupported if the agent is too old to tell.
func (c *Client) Commands(ctx context.Context, session string, after uint64) ([]CommandInfo, error) {
	var some []wire.Command
	path := fmt.Sprintf("sessions/%s/commands?after=%s", url.PathEscape(session), strconv.FormatUint(after, 10))
	if err := c.do(ctx, request{method: http.MethodGet, path: path, answer: &some, timeout: short}); err != nil {
		return nil, err
	}
	now := time.Now()
	ago := func(s float64) time.Time { return now.Add(-time.Duration(s * float64(time.Second))) }
	all := make([]CommandInfo, len(some))
	for i, one := range some {
		all[i] = CommandInfo{
			Seq: one.Seq, ID: one.ID, ArgsCut: one.Cut, Pid: one.Pid, Started: ago(one.Age), Stdout: one.Stdout, Stderr: one.Stderr,
			Detached: one.Detached,
		}
		for _, arg := range one.Args {
			all[i].Args = append(all[i].Args, string(arg))
		}
		if one.Exit != nil {
			all[i].Ended, all[i].Exit = ago(one.Since), Exit(*one.Exit)
		}
	}
	return all, nil
}

// RecalledArgs returns the arguments of a command as far as an agent remembers them, how many bytes that are, and whether something is
// missing.
func RecalledArgs(args []string) (kept []string, size int, cut bool) { return wire.Recalled(args) }

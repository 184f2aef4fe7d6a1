// Package command runs one command in a session: it starts the command, copies its streams, kills it when its context
// ends, and finds out how it ended. Package berth's Cmd is its API.
package command

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// A Host is the session that a command runs in, with the Provider that it belongs to.
type Host interface {
	// ID returns the session's ID.
	ID() string
	// Use connects to the session's container, and calls start with the connection. It returns start's error as it is.
	// Close waits for Use, as for each call of the API. From the call of start on, the session's lease is renewed, until
	// release renews it for the last time. release is called once. It calls the store, and so may block.
	Use(ctx context.Context, start func(inside orchestrator.Inside, release func()) error) error
	// Explain returns why the session ended, or that the Provider was closed, if err comes from that. Otherwise it returns
	// err itself. A session that its container does not have, as err may say, is ended. Explain may ask the store, and takes
	// no more than a few seconds even if the store does not answer.
	Explain(ctx context.Context, err error) error
	// Go calls fn in a new goroutine, and Close waits for it.
	Go(fn func())
	// Ended is called once for each command that has ended, even if Wait is not called. err is what Wait returns if it waits
	// until then.
	Ended(err error)
	// Report logs and counts a failure in the background. ctx is the command's.
	Report(ctx context.Context, what string, err error)
}

// A Spec is what Start needs to know. Its fields are those of package berth's Cmd.
type Spec struct {
	Args           []string
	Env            []string
	Dir            string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	WaitDelay      time.Duration
	Terminal       *agent.Size
	Detached       bool // the end of the context, and of the host's process, does not end the command
	Keep           int64
	Hidden         bool // the command is berth's own, and not listed

	// Attach is the ID of a command that was started detached before, which is not started again; "" = a new one. StdoutFrom and
	// StderrFrom say where its outputs begin, and are set to where they really do.
	Attach                 string
	StdoutFrom, StderrFrom *int64
}

// A Command is one command. It is run once, and used by one goroutine at a time.
type Command struct {
	ctx       context.Context
	host      Host
	exitError func(agent.Exit) error // makes the error of a program that did not succeed

	streams // before Start, they are only the pipes
	started bool
	spec    Spec
	process orchestrator.Process // nil = it was not started
	waited  bool
	code    int // what Wait returned; -1 before

	lease    func() // Host.Use gave it: it ends the renewal of the session's lease
	released atomic.Bool

	over   atomic.Bool                // the program has ended, or it will never be known when it does; the streams may go on
	exit   atomic.Pointer[agent.Exit] // how the program has ended; nil = that is not known
	killed atomic.Bool                // ctx ended before the program did

	// finish sets end and closes ended. Then it renews the lease for the last time, and ends life.
	end     outcome
	ended   chan struct{}
	life    context.Context // has the values of ctx
	endLife context.CancelFunc

	// watch closes settled when Wait need not wait any longer: life has ended, or ctx ended long ago. Then early is set,
	// which is the end as far as it is known without waiting for it.
	early   outcome
	settled chan struct{}
}

// New returns a command that is killed when ctx ends. exitError makes the error of a program that did not succeed.
func New(ctx context.Context, host Host, exitError func(agent.Exit) error) *Command {
	return &Command{ctx: ctx, host: host, exitError: exitError, code: -1, streams: streams{ctx: ctx}}
}

// ID returns what tells the command from all others; "" = it was not started.
func (c *Command) ID() string {
	if c.process == nil {
		return ""
	}
	return c.process.ID()
}

// Started reports whether Start was called.
func (c *Command) Started() bool { return c.started }

// release renews the session's lease for the last time. Only the first call does; another returns without waiting for it.
func (c *Command) release() {
	if c.released.CompareAndSwap(false, true) {
		c.lease()
	}
}

package berth

import (
	"io"
	"sync/atomic"
	"time"
)

// gates puts a gate before each Writer, and one before a Writer that is both.
func (c *Cmd) gates() (stdout, stderr io.Writer) {
	if c.Stdout != nil {
		stdout = c.gate(c.Stdout)
	}
	switch {
	case c.Stderr == nil:
	case sameWriter(c.Stdout, c.Stderr):
		stderr = stdout
	default:
		stderr = c.gate(c.Stderr)
	}
	return stdout, stderr
}

func (c *Cmd) gate(w io.Writer) *gate {
	g := &gate{w: w, busy: make(chan struct{}, 1)}
	c.output = append(c.output, g)
	return g
}

func (c *Cmd) shutOutput() {
	for _, g := range c.output {
		g.shut()
	}
}

// sameWriter reports whether two writers are one. Values that cannot be compared are not.
func sameWriter(a, b io.Writer) (same bool) {
	defer func() {
		if recover() != nil {
			same = false
		}
	}()
	return a == b
}

// A gate passes on what is written until it is shut: a caller may use its Writer again once Wait has returned, also
// when Wait did not wait for the streams.
type gate struct {
	w      io.Writer
	busy   chan struct{} // filled while somebody writes
	closed atomic.Bool
}

func (g *gate) Write(b []byte) (int, error) {
	g.busy <- struct{}{}
	defer func() { <-g.busy }()
	if g.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	return g.w.Write(b)
}

// lastWrite is how long a Write that is under way is waited for. One that blocks goes on.
const lastWrite = 100 * time.Millisecond

func (g *gate) shut() {
	g.closed.Store(true)
	t := time.NewTimer(lastWrite)
	defer t.Stop()
	select {
	case g.busy <- struct{}{}:
		<-g.busy
	case <-t.C:
	}
}

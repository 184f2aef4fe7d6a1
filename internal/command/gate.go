package command

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// A gate passes on what the Process writes until it is shut. So a caller may use its Writer again once Wait has returned,
// even if Wait did not wait for the streams.
type gate struct {
	streams *streams
	w       io.Writer
	pipe    bool                // w is the command's end of an OutputPipe
	busy    *semaphore.Weighted // of 1: held during a Write
	closed  atomic.Bool
	late    atomic.Bool                 // something was written after the end of the context had closed the pipe
	failed  atomic.Pointer[streamError] // the first error of w
}

func (s *streams) gate(w io.Writer) *gate {
	g := &gate{streams: s, w: w, busy: semaphore.NewWeighted(1)}
	if end, ok := w.(*io.PipeWriter); ok {
		g.pipe = slices.Contains(s.pipes, pipeEnd(end))
	}
	return g
}

func (g *gate) Write(b []byte) (int, error) {
	g.busy.Acquire(context.Background(), 1) // gets it, since this context does not end
	defer g.busy.Release(1)
	if g.closed.Load() {
		return 0, g.hungUp()
	}
	n, err := g.w.Write(b)
	switch {
	case err == nil && n == len(b):
		return n, nil
	case err == nil:
		err = io.ErrShortWrite
	case g.pipe && errors.Is(err, io.ErrClosedPipe):
		return n, g.hungUp()
	}
	failed := &streamError{err}
	g.failed.CompareAndSwap(nil, failed)
	return n, failed
}

// hungUp returns the error of a Write when the pipe's reader is closed. The caller may close a pipe early, as in
// os/exec: what the program makes of it shows in its exit. If the end of the context has closed the pipe, output is
// missing.
func (g *gate) hungUp() error {
	if g.streams.cut.Load() {
		g.late.Store(true)
	}
	return &streamError{io.ErrClosedPipe}
}

// lastWrite is how long shut waits for a Write that is under way.
const lastWrite = 100 * time.Millisecond

// shut makes all later Writes fail. A Write that blocks for longer than lastWrite goes on.
func (g *gate) shut() {
	g.closed.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), lastWrite)
	defer cancel()
	if g.busy.Acquire(ctx, 1) == nil {
		g.busy.Release(1)
	}
}

// end ends the pipe with io.EOF if nothing is missing. cut says why something is; nil = nothing is. A nil gate has no
// pipe.
func (g *gate) end(cut error) {
	if g != nil && g.pipe && cut == nil {
		g.w.(pipeEnd).CloseWithError(nil)
	}
}

// torn returns why the stream was not delivered to its last byte; nil = it was. That is the Writer's own error, or else
// cut, with which the Process says why it has not copied the stream to its end. A nil gate has no stream that could be
// torn.
func (g *gate) torn(cut error) error {
	if g == nil {
		return nil
	}
	failed := g.failed.Load()
	switch {
	case failed != nil:
		return failed
	case cut == nil && g.late.Load():
		return context.Cause(g.streams.ctx)
	}
	return cut
}

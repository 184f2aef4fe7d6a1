package fake

import (
	"io"
)

// output is a stream that a command writes. The caller's writer is called by one goroutine at a time, at its own
// pace, and not any more once Wait has returned, unless it blocks: then WaitDelay or the end of the Inside ends Wait.
type output struct {
	process *process
	to      io.Writer // nil drops everything
}

func (o output) Write(b []byte) (int, error) {
	p := o.process
	select {
	case p.writing <- struct{}{}:
	case <-p.ended:
		return 0, io.ErrClosedPipe
	}
	defer func() { <-p.writing }()
	select {
	case <-p.ended:
		return 0, io.ErrClosedPipe
	default:
	}
	if o.to == nil || p.inside.ended.Load() {
		return len(b), nil
	}
	n, err := o.to.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil && p.failed == nil {
		p.failed = err
	}
	return n, err
}

// copyIn reads the caller's reader in a goroutine of its own, so that one that blocks does not keep a killed command.
// It keeps Wait, as with os/exec.
func (p *process) copyIn() {
	if p.feed == nil {
		return
	}
	p.fed = make(chan struct{})
	go func() { // ends with the reader, or with the command when the reader lets it
		defer close(p.fed)
		_, err := io.Copy(p.feed, p.started.Stdin)
		p.feed.CloseWithError(err)
	}()
}

// input is the stream that a command reads.
type input struct {
	process *process
}

func (i input) Read(b []byte) (int, error) {
	p := i.process
	if p.stdin == nil {
		return 0, io.EOF
	}
	n, err := p.stdin.Read(b)
	if err != nil && err != io.EOF && err != io.ErrClosedPipe {
		p.fail(err)
	}
	return n, err
}

// fail notes that a stream failed, for Wait.
func (p *process) fail(err error) {
	select {
	case p.writing <- struct{}{}:
		if p.failed == nil {
			p.failed = err
		}
		<-p.writing
	case <-p.ended:
	}
}

package fake

import (
	"io"
)

// output is a stream that a command writes. The caller's writer is called by one goroutine at a time, at its own
// pace, and not any more once Wait has returned.
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

// input is the stream that a command reads. The caller's reader is read by a goroutine of its own, so that one that
// blocks does not keep a killed command; it begins with the first Read.
type input struct {
	process *process
}

func (i input) Read(b []byte) (int, error) {
	p := i.process
	if p.started.Stdin == nil {
		return 0, io.EOF
	}
	p.pump.Do(func() {
		r, w := io.Pipe()
		p.stdin = r
		go func() {
			_, err := io.Copy(w, p.started.Stdin)
			w.CloseWithError(err)
		}()
	})
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

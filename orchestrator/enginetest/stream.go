package enginetest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// buffer is a bytes.Buffer that may be read while a command writes.
type buffer struct {
	mu  sync.Mutex // protects buf
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// cutting is a bytes.Buffer that cuts the connection every so many bytes.
type cutting struct {
	bytes.Buffer
	every, done int
	cut         func()
}

func (c *cutting) Write(p []byte) (int, error) {
	n, err := c.Buffer.Write(p)
	if c.Len() >= c.every*(c.done+1) {
		c.done++
		c.cut()
	}
	return n, err
}

func pipe() (*io.PipeReader, *io.PipeWriter) { return io.Pipe() }

// write writes to a command's input. The command must read it.
func (f *fixture) write(w *io.PipeWriter, text string) {
	f.Helper()
	timer := time.AfterFunc(patience, func() { w.CloseWithError(errors.New("the command does not read")) })
	defer timer.Stop()
	if _, err := io.WriteString(w, text); err != nil {
		f.Errorf("writing to a command: %v", err)
	}
}

// wantCut calls end when a command has ended and its output is not read. It checks that the output is then cut off by
// want, and that the exit is known nevertheless.
func (f *fixture) wantCut(in orchestrator.Inside, s agent.Session, want error, end func() error) {
	f.Helper()
	r, w := pipe()
	defer r.Close()
	known := make(chan error, 1)
	p := f.start(in, agent.Command{
		Session: s.ID, Args: cmdPage, Stdout: w, Ended: func(_ agent.Exit, lost error) { known <- lost },
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		exit, err := p.Wait()
		cut, ok := errors.AsType[*agent.CutError](err)
		if !ok || !errors.Is(cut.Stdout, want) || exit != (agent.Exit{}) {
			f.Errorf("Wait returned %+v, %v; want a *agent.CutError of standard output by %v", exit, err, want)
		}
	}()
	if lost := <-known; lost != nil {
		f.Errorf("the exit is not known: %v", lost)
	}
	if err := end(); err != nil {
		f.Error(err)
	}
	<-ended
}

var streamCases = []testCase{{
	rule: "standard output and standard error are separate",
	test: func(f *fixture) {
		_, in, s := f.opened()
		if _, out, errs := f.run(in, s.ID, cmdBoth, nil); out != "out\n" || errs != "err\n" {
			f.Errorf("they hold %q and %q", out, errs)
		}
	},
}, {
	rule: "one writer for both keeps the order of the output",
	test: func(f *fixture) {
		_, in, s := f.opened()
		var both buffer
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdMixed, Stdout: &both, Stderr: &both})
		if _, err := f.wait(p); err != nil || both.String() != "1\n2\n3\n4\n" {
			f.Errorf("it holds %q, and Wait returned %v", both.String(), err)
		}
	},
}, {
	rule: "streams that are not given are /dev/null",
	test: func(f *fixture) {
		_, in, s := f.opened()
		for _, args := range [][]string{cmdCat, cmdBoth, cmdZeros} {
			p := f.start(in, agent.Command{Session: s.ID, Args: args})
			if exit, err := f.wait(p); err != nil || exit.Code != 0 {
				f.Errorf("%q ended with %+v, %v", args, exit, err)
			}
		}
	},
}, {
	rule: "large binary input comes back unchanged",
	test: func(f *fixture) {
		_, in, s := f.opened()
		input := make([]byte, 4<<20)
		for i := range input {
			input[i] = byte(rand.Uint32())
		}
		if _, out, _ := f.run(in, s.ID, cmdCat, bytes.NewReader(input)); out != string(input) {
			f.Errorf("%d bytes came back for %d, or other ones", len(out), len(input))
		}
	},
}, {
	rule: "output that is read slowly arrives in full",
	test: func(f *fixture) {
		_, in, s := f.opened()
		r, w := pipe()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdZeros, Stdout: w})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if _, err := p.Wait(); err != nil {
				f.Errorf("Wait: %v", err)
			}
			w.Close()
		}()
		time.Sleep(300 * time.Millisecond)
		select {
		case <-ended:
			f.Error("it ended although nobody read its output")
		default:
		}
		if n, err := io.Copy(io.Discard, r); n != zeros || err != nil {
			f.Errorf("%d bytes came, with the error %v; want %d", n, err, zeros)
		}
		<-ended
	},
}, {
	rule: "a writer that fails is Wait's error",
	test: func(f *fixture) {
		_, in, s := f.opened()
		full := errors.New("the disk of the caller is full")
		r, w := pipe()
		r.CloseWithError(full)
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdZeros, Stdout: w})
		_, err := f.wait(p)
		f.wantErr("Wait", err, full)
	},
}, {
	rule: "an input that Ended closes does not delay Wait",
	test: func(f *fixture) {
		_, in, s := f.opened()
		for _, args := range [][]string{cmdTrue, cmdExit3} {
			r, w := pipe()
			p := f.start(in, agent.Command{Session: s.ID, Args: args, Stdin: r, Ended: func(agent.Exit, error) { w.Close() }})
			if _, err := f.wait(p); err != nil {
				f.Errorf("%q: Wait: %v", args, err)
			}
		}
	},
}, {
	rule: "an input that blocks delays Wait for WaitDelay",
	test: func(f *fixture) {
		_, in, s := f.opened()
		r, w := pipe()
		defer w.Close()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdTrue, Stdin: r, WaitDelay: 100 * time.Millisecond})
		exit, err := f.wait(p)
		f.wantErr("Wait", err, exec.ErrWaitDelay)
		if exit != (agent.Exit{}) {
			f.Errorf("it ended with %+v", exit)
		}
	},
}, {
	rule: "output that is not delivered when the Inside is closed is cut off by agent.ErrClosed",
	test: func(f *fixture) {
		h, _, s := f.opened()
		in := f.attach(h, f.own().Name)
		f.wantCut(in, s, agent.ErrClosed, in.Close)
	},
}, {
	rule: "output that is not delivered when the container is removed is cut off by agent.ErrGone",
	test: func(f *fixture) {
		h, in, s := f.opened()
		f.wantCut(in, s, agent.ErrGone, func() error { return h.Remove(f.ctx, f.own().Name, "") })
	},
}, {
	rule: "a command and its caller can talk to each other",
	test: func(f *fixture) {
		_, in, s := f.opened()
		f.talk(in, s, func() {})
	},
}, {
	rule:  "large input comes back once and in order when the connection is cut in the middle of it",
	needs: needsCut,
	test: func(f *fixture) {
		_, in, s := f.opened()
		input := make([]byte, 6<<20)
		for i := range input {
			input[i] = byte(rand.Uint32())
		}
		const cuts = 4
		var out cutting
		out.every, out.cut = len(input)/(cuts+1), func() { f.CutConnections(f.T) }
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdCat, Stdin: bytes.NewReader(input), Stdout: &out})
		if exit, err := f.wait(p); err != nil || exit.Code != 0 || !bytes.Equal(out.Bytes(), input) {
			f.Errorf("it ended with %+v, %v; %d bytes came back for %d, or other ones", exit, err, out.Len(), len(input))
		}
		if out.done < cuts {
			f.Errorf("there were %d cuts; want %d", out.done, cuts)
		}
	},
}, {
	rule:  "commands go on and lose no output when the connection is cut",
	needs: needsCut,
	test: func(f *fixture) {
		_, in, s := f.opened()
		f.talk(in, s, func() { f.CutConnections(f.T) })
		if _, err := in.Sessions(f.ctx); err != nil {
			f.Errorf("Sessions after the cut: %v", err)
		}
	},
}}

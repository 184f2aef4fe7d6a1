package daemon

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/berth-go/berth/agent/internal/lost"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
	"github.com/berth-go/berth/agent/internal/work"
)

// A workRun is a run of the program that packs the work of a session, or unpacks it, in the session's room and under its uid.
type workRun struct {
	d       *Daemon
	session *session
	proc    *proc.Process
	streams *streams
	words   lastBytes
	read    chan struct{} // closed when words is whole
}

// startWork starts the program. It ends when the caller closes its streams.
func startWork(d *Daemon, id, what string) (*workRun, error) {
	s, err := d.sessions.enter(id)
	if err != nil {
		return nil, err
	}
	defer s.starting.Done()
	defer d.sessions.leave(s, false) // it is none of the session's commands
	r := &workRun{d: d, session: s, read: make(chan struct{})}
	if r.streams, err = openStreams(wire.Start{Stdin: what == "unpack", Stdout: what == "pack", Stderr: "pipe"}, s.UID); err != nil {
		return nil, err
	}
	args, env, dir := s.helper(d, what)
	r.proc, err = d.starter(s).Start(proc.Spec{
		Args: stringsOf(args), Env: stringsOf(env), Path: lookup(stringsOf(env), "PATH"), Dir: string(dir), UID: s.UID, Files: r.streams.child,
	})
	r.streams.closeChild()
	if err != nil {
		r.streams.closeOurs()
		return nil, err
	}
	go func() {
		defer close(r.read)
		io.Copy(&r.words, r.streams.errs)
	}()
	return r, nil
}

// wait returns when the program has ended. The error has its last words.
func (r *workRun) wait(ctx context.Context) error {
	select {
	case <-r.proc.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-r.read
	code, signal := r.proc.Exit()
	words := strings.TrimPrefix(r.words.String(), "berth-agent: ")
	switch {
	case r.proc.OutOfMemory():
		return errors.New("out of memory")
	case signal != 0:
		resume(r.d, r.session, "pack")
		return fmt.Errorf("signal %d", signal)
	case code != 0:
		return errors.New(cmp.Or(words, fmt.Sprintf("exit status %d", code)))
	}
	return nil
}

// keepWork packs the work of a session into a file of the agent's own.
func keepWork(ctx context.Context, d *Daemon, k wire.KeepWork) (*wire.Kept, error) {
	if k.Count < 1 || k.Bytes < 1 || k.Age <= 0 {
		return nil, &wire.Error{Code: wire.CodeInvalid, Message: "a bound is missing"}
	}
	r, err := startWork(d, k.Session, "pack")
	if err != nil {
		return nil, err
	}
	defer r.streams.closeOurs()
	defer context.AfterFunc(ctx, r.streams.closeOurs)()
	h, err := d.lost.Keep(k.Session, k.Branch, lost.Bounds{Count: k.Count, Bytes: k.Bytes, Age: k.Age}, r.streams.out, func() error { return r.wait(ctx) })
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("its work cannot be kept: %w", err)
	}
	return &wire.Kept{Branch: h.Branch, Bytes: h.Bytes}, nil
}

// bringWork describes the kept work of a session, and unpacks it to another.
func bringWork(ctx context.Context, d *Daemon, b wire.BringWork) (*wire.Kept, error) {
	h, in, err := d.lost.Find(b.Kept)
	if errors.Is(err, lost.ErrNone) {
		return nil, &wire.Error{Code: wire.CodeNothingKept, Message: err.Error()}
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	line = append([]byte(nil), line...)
	head, err := work.ReadHead(bufio.NewReader(strings.NewReader(string(line))))
	if err != nil {
		return nil, err
	}
	kept := &wire.Kept{Branch: h.Branch, Commit: head.Commit, Bytes: h.Bytes}
	if b.Into == "" {
		return kept, nil
	}
	r, err := startWork(d, b.Into, "unpack")
	if err != nil {
		return nil, err
	}
	defer r.streams.closeOurs()
	defer context.AfterFunc(ctx, r.streams.closeOurs)()
	if _, err = r.streams.in.Write(line); err == nil {
		_, err = io.Copy(r.streams.in, in)
	}
	r.streams.in.Close()
	if failed := r.wait(ctx); failed != nil && !errors.Is(failed, os.ErrClosed) {
		err = failed // says why it did not read on
	}
	if err != nil {
		return nil, fmt.Errorf("the kept work cannot be unpacked: %w", err)
	}
	return kept, nil
}

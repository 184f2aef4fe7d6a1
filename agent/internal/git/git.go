// Package git runs git as a uid, reads its progress and its last words, and ends it with all its helpers when the
// caller gives up.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Stall is how long a git with a progress report may say nothing before it is ended.
const Stall = 5 * time.Minute

// A Job is one git command.
type Job struct {
	Op    string // for the error: "fetch", "clone", "checkout"
	UID   int
	Umask string // in octal; "" = this program's
	Dir   string
	Args  []string // without "git"
	Env   []string // all of it
	Path  string   // where git is looked up
	// Progress is told each step that git reports. Set, it also makes silence for Stall an error.
	Progress func(wire.Progress)
	// Secrets are kept out of the error.
	Secrets []string
}

// An Error is a git command that failed.
type Error struct {
	Op      string
	Message string
}

func (e *Error) Error() string { return "git " + e.Op + ": " + e.Message }

// maxOutput bounds what is kept of stdout.
const maxOutput = 64 << 20

// Run runs git and returns its stdout. Its error is *Error, or the context's.
func Run(ctx context.Context, table *proc.Table, j Job) ([]byte, error) {
	outR, outW, err := pipe()
	if err != nil {
		return nil, err
	}
	defer outR.Close()
	errR, errW, err := pipe()
	if err != nil {
		syscall.Close(outW)
		return nil, err
	}
	defer errR.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	args := append([]string{"git"}, j.Args...)
	if j.Umask != "" {
		args = append([]string{"sh", "-c", "umask " + j.Umask + ` && exec git "$@"`}, args...)
	}
	p, err := table.Start(proc.Spec{
		Args: args, Path: j.Path, Env: j.Env, Dir: j.Dir, UID: j.UID,
		Files: [3]uintptr{null.Fd(), uintptr(outW), uintptr(errW)},
	})
	syscall.Close(outW)
	syscall.Close(errW)
	null.Close()
	if err != nil {
		return nil, &Error{Op: j.Op, Message: err.Error()}
	}

	var heard atomic.Int64 // when git last said something
	heard.Store(time.Now().UnixNano())
	words := &lastWords{progress: j.Progress, heard: &heard, secrets: j.Secrets}
	var out bytes.Buffer
	streams := make(chan struct{}, 2)
	go func() {
		io.Copy(&out, io.LimitReader(outR, maxOutput))
		io.Copy(io.Discard, outR)
		streams <- struct{}{}
	}()
	go func() {
		io.Copy(words, errR)
		streams <- struct{}{}
	}()

	failed := wait(ctx, p, j, &heard)
	// A helper that git left behind may hold the pipes open.
	drained := time.AfterFunc(5*time.Second, func() { kill(p, j.UID) })
	<-streams
	<-streams
	drained.Stop()
	if failed != nil {
		return nil, failed
	}
	if code, signal := p.Exit(); code != 0 {
		message := Scrub(words.String(), j.Secrets...)
		if signal != 0 {
			message = strings.TrimSpace(fmt.Sprintf("%s\nended by signal %d", message, signal))
		} else if message == "" {
			message = fmt.Sprintf("exit status %d", code)
		}
		return nil, &Error{Op: j.Op, Message: message}
	}
	return out.Bytes(), nil
}

// wait returns when the process has ended; it ends it when the context does, or when it stalls.
func wait(ctx context.Context, p *proc.Process, j Job, heard *atomic.Int64) error {
	tick := time.NewTicker(Stall / 10)
	defer tick.Stop()
	for {
		select {
		case <-p.Done():
			return nil
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), kill(p, j.UID))
		case <-tick.C:
			if j.Progress != nil && time.Since(time.Unix(0, heard.Load())) > Stall {
				return errors.Join(&Error{Op: j.Op, Message: fmt.Sprintf("nothing happened for %v", Stall)}, kill(p, j.UID))
			}
		}
	}
}

// kill ends the process and its descendants; it is bounded by a time of its own, since the caller's is over.
func kill(p *proc.Process, uid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := proc.Kill(ctx, p.Mark, uid)
	if err == nil {
		<-p.Done()
	}
	return err
}

// pipe returns a pipe's read end for this program and its write end for a child.
func pipe() (*os.File, int, error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return nil, 0, os.NewSyscallError("pipe2", err)
	}
	syscall.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), "git"), fds[1], nil
}

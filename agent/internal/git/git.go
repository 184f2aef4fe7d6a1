// Package git runs git as a uid and reads its progress and its last words. When the caller gives up, it ends git and all its
// helpers.
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

// Stall is how long a git that reports progress may be silent before it is ended.
const Stall = 5 * time.Minute

// ConnectTimeout is how long a remote may leave a connection unanswered. Curl would wait for 5 minutes, and the kernel
// gives up after 127 s.
const ConnectTimeout = 30 * time.Second

// AnswerTimeout is how long a remote or a proxy may accept connections and send nothing. It is longer than the minute that curl
// has for an HTTP request; curl's limit does not hold for a handshake of TLS or with a proxy.
const AnswerTimeout = 75 * time.Second

var answerTimeout = AnswerTimeout // a test shortens it

// A Job is one git command.
type Job struct {
	Op   string // for the error: "fetch", "clone", "checkout"
	UID  int
	Dir  string
	Args []string // without "git"
	Env  []string // all of it
	Path string   // where git is looked up
	// URL is the remote that it talks to; "" = none. It may use the URL's transport alone. ConnectTimeout and AnswerTimeout
	// hold for all connections of the uid.
	URL string
	// Also are transports that it may use beside.
	Also []string
	// Output reads git's stdout as it comes. Its error ends git and is returned. Nil keeps the output, at most maxOutput
	// bytes; git fails if there are more.
	Output func(io.Reader) error
	// Watch is called every few seconds. Its error ends git and is returned.
	Watch func() error
	// Progress is called for each step that git reports. If it is set, silence for Stall is an error.
	Progress func(wire.Progress)
	// Secrets are kept out of the error.
	Secrets []string
	// User is the user that the URL was given with. It is kept out of the error where it stands in a URL.
	User string
}

// An Error is a git command that failed.
type Error struct {
	Op      string
	Message string
}

func (e *Error) Error() string { return "git " + e.Op + ": " + e.Message }

// A Starter starts git: a [proc.Table], or a session's room.
type Starter interface {
	// Start starts a process, as [proc.Table.Start] does.
	Start(s proc.Spec) (*proc.Process, error)
}

// maxOutput bounds what is kept of stdout. Few lines are expected.
const maxOutput = 64 << 10

// watchInterval is how often Watch is called.
const watchInterval = 2 * time.Second

// Run runs git and returns its stdout. Its error is *Error, the context's, or that of Output or Watch.
func Run(ctx context.Context, in Starter, j Job) ([]byte, error) {
	p, outR, errR, err := start(in, j)
	if err != nil {
		return nil, err
	}
	defer outR.Close()
	defer errR.Close()

	var heard atomic.Int64 // the stamp of when git last said something
	heard.Store(stamp())
	words := &lastWords{progress: j.Progress, heard: &heard, secrets: j.Secrets, user: userPattern(j.User), local: j.URL == ""}
	var out bytes.Buffer
	read := j.Output
	if read == nil {
		read = func(r io.Reader) error { return keep(&out, r) }
	}
	ctx, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	var unread error // of the output
	streams := make(chan struct{}, 2)
	go func() {
		if unread = read(outR); unread != nil {
			enough(unread)
		}
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
	if unread != nil {
		return nil, unread
	}
	if err := outcome(p, j, words.String()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// start starts git. The caller closes the pipes of its stdout and stderr.
func start(in Starter, j Job) (p *proc.Process, outR, errR *os.File, err error) {
	outR, outW, err := pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	errR, errW, err := pipe()
	if err != nil {
		outR.Close()
		syscall.Close(outW)
		return nil, nil, nil, err
	}
	null, err := os.Open(os.DevNull)
	if err == nil {
		args, env := command(j)
		p, err = in.Start(proc.Spec{
			Args: args, Path: j.Path, Env: env, Dir: j.Dir, UID: j.UID, Helper: true,
			Files: [3]uintptr{null.Fd(), uintptr(outW), uintptr(errW)},
		})
		null.Close()
		if err != nil {
			err = &Error{Op: j.Op, Message: err.Error()}
		}
	}
	syscall.Close(outW)
	syscall.Close(errW)
	if err != nil {
		outR.Close()
		errR.Close()
		return nil, nil, nil, err
	}
	return p, outR, errR, nil
}

// keep reads an output that is to be short.
func keep(out *bytes.Buffer, r io.Reader) error {
	n, err := io.Copy(out, io.LimitReader(r, maxOutput+1))
	if n > maxOutput {
		return fmt.Errorf("git printed more than %d bytes where a few lines were expected", maxOutput)
	}
	return err
}

// outcome returns an error if the process failed. words are its last words.
func outcome(p *proc.Process, j Job, words string) error {
	code, signal := p.Exit()
	if code == 0 {
		return nil
	}
	message := scrub(words, userPattern(j.User), j.Secrets)
	if signal != 0 {
		message = strings.TrimPrefix(fmt.Sprintf("%s; ended by signal %d", message, signal), "; ")
	} else if message == "" {
		message = fmt.Sprintf("exit status %d", code)
	}
	if p.OutOfMemory() {
		message += "; the session or the container ran out of memory while it ran"
	}
	return &Error{Op: j.Op, Message: message}
}

// wait returns when the process has ended. It ends the process when the context ends, or when the process stalls.
func wait(ctx context.Context, p *proc.Process, j Job, heard *atomic.Int64) error {
	every := Stall / 10
	if j.Watch != nil {
		every = watchInterval
	}
	remote := j.URL != ""
	if remote {
		every = min(ConnectTimeout, answerTimeout) / 15
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	connected := time.Now() // when no connection was pending
	answered := time.Now()  // when a connection had received something, or there was none
	for {
		select {
		case <-p.Done():
			return nil
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), kill(p, j.UID))
		case <-tick.C:
			if j.Watch != nil {
				if err := j.Watch(); err != nil {
					return errors.Join(err, kill(p, j.UID))
				}
			}
			if j.Progress != nil && time.Duration(stamp()-heard.Load()) > Stall {
				return errors.Join(&Error{Op: j.Op, Message: fmt.Sprintf("nothing happened for %v", Stall)}, kill(p, j.UID))
			}
			if !remote || !unanswered(j.UID) {
				connected = time.Now()
			} else if time.Since(connected) > ConnectTimeout {
				return errors.Join(&Error{Op: j.Op, Message: fmt.Sprintf("the remote takes no connection: no answer for %v", ConnectTimeout)}, kill(p, j.UID))
			}
			if !remote || !silent(j.UID) {
				answered = time.Now()
			} else if time.Since(answered) > answerTimeout {
				return errors.Join(&Error{Op: j.Op, Message: fmt.Sprintf("the remote does not answer: it took the connection and sent nothing for %v", answerTimeout)}, kill(p, j.UID))
			}
		}
	}
}

// kill ends the process and its descendants. It has a timeout of its own, since the caller's context has ended.
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

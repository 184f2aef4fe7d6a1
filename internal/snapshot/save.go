package snapshot

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/plain"
	"github.com/berth-go/berth/orchestrator"
)

// A Host is the session whose work is kept: see filehelper.Host.
type Host interface {
	// ID returns the session's ID.
	ID() string
	// Use calls start with a connection to the session's container. The session's lease is renewed until release is called.
	Use(ctx context.Context, start func(inside orchestrator.Inside, release func()) error) error
	// Explain returns why the session ended, or that the Provider was closed, if err comes from that.
	Explain(ctx context.Context, err error) error
	// Go calls fn in a new goroutine, and Close of the Provider waits for it.
	Go(fn func())
}

const (
	startTime = time.Minute
	endTime   = 5 * time.Second // for the streams of a program that has ended
	killTime  = 30 * time.Second
)

// maxWords bounds what is kept of why a program has failed.
const maxWords = 2048

// Words keeps the beginning of what a program says.
type Words struct{ text bytes.Buffer }

// Write implements io.Writer.
func (w *Words) Write(p []byte) (int, error) {
	w.text.Write(p[:min(len(p), maxWords-w.text.Len())])
	return len(p), nil
}

// Failure returns why a program has failed; nil = it has not. The words come from the session, and show as themselves on one line.
func (w *Words) Failure(exit agent.Exit) error {
	if exit.Code == 0 {
		return nil
	}
	text := strings.TrimSpace(strings.TrimPrefix(w.text.String(), "berth-agent: "))
	switch {
	case exit.OverLimit != "":
		text = exit.OverLimit
	case exit.OutOfMemory:
		text = "out of memory"
	case exit.Signal != 0:
		text = fmt.Sprintf("signal %d", exit.Signal)
	}
	return errors.New(plain.Text(cmp.Or(text, fmt.Sprintf("exit status %d", exit.Code))))
}

// Save packs the work of a session, and stores it under a name. It fills the header's Commit, Files and Bytes.
func Save(ctx context.Context, store orchestrator.SnapshotStore, h Host, name orchestrator.SnapshotName, header *Header) (stored orchestrator.Snapshot, err error) {
	err = h.Use(ctx, func(inside orchestrator.Inside, release func()) error {
		stored, err = save(ctx, store, h, inside, release, name, header)
		return err
	})
	return stored, err
}

func save(ctx context.Context, store orchestrator.SnapshotStore, h Host, inside orchestrator.Inside, release func(), name orchestrator.SnapshotName, header *Header) (stored orchestrator.Snapshot, err error) {
	packed, stdout := io.Pipe()
	var words Words
	starting, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("%w: the agent of the container has not answered for %v", errs.ErrUnavailable, startTime))
	defer cancel()
	process, err := inside.Start(starting, agent.Command{Session: h.ID(), Work: agent.PackWork, Stdout: stdout, Stderr: &words, WaitDelay: endTime})
	if err != nil {
		release()
		if starting.Err() != nil {
			return stored, context.Cause(starting)
		}
		return stored, h.Explain(ctx, err)
	}
	ended := make(chan error, 1)
	h.Go(func() {
		defer release()
		exit, err := process.Wait()
		if failed := words.Failure(exit); failed != nil && (err == nil || exit.Code != 0) {
			err = failed
		}
		stdout.CloseWithError(err)
		ended <- err
	})
	defer context.AfterFunc(ctx, func() { packed.CloseWithError(context.Cause(ctx)) })()
	stored, err = put(ctx, store, packed, name, header)
	packed.CloseWithError(cmp.Or(err, io.ErrClosedPipe))
	if err == nil {
		return stored, <-ended
	}
	h.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
		defer cancel()
		process.Kill(ctx)
	})
	if ctx.Err() != nil {
		return stored, context.Cause(ctx)
	}
	return stored, h.Explain(ctx, err)
}

// put stores what a program packs. The store gets its end only if the program has succeeded.
func put(ctx context.Context, store orchestrator.SnapshotStore, packed io.Reader, name orchestrator.SnapshotName, header *Header) (orchestrator.Snapshot, error) {
	in := bufio.NewReaderSize(packed, 64<<10)
	head, err := agent.ReadWorkHead(in)
	if err != nil {
		return orchestrator.Snapshot{}, fmt.Errorf("cannot pack its work: %w", err)
	}
	if head.Commit != "" && !gitremote.IsCommit(head.Commit) || head.Files < 0 || head.Bytes < 0 { // the session can have said that
		return orchestrator.Snapshot{}, fmt.Errorf("cannot pack its work: a beginning that no program of berth writes: %.200q", head.Commit)
	}
	header.Version, header.Commit, header.Files, header.Bytes = version, head.Commit, head.Files, head.Bytes
	line, err := json.Marshal(head)
	if err != nil {
		return orchestrator.Snapshot{}, err
	}
	content := &watched{in: io.MultiReader(header.line(), bytes.NewReader(append(line, '\n')), in)}
	stored, err := store.Put(ctx, name, content)
	switch {
	case content.err != nil:
		err = fmt.Errorf("cannot pack its work: %w", content.err)
	case err != nil:
		err = fmt.Errorf("%w: cannot store the snapshot: %w", errs.ErrUnavailable, err)
	}
	return stored, err
}

// A watched reader remembers the error that ended it, if that was not io.EOF.
type watched struct {
	in  io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

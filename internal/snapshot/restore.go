package snapshot

import (
	"context"
	"fmt"
	"io"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// Restore unpacks a snapshot in a session in which nothing was done. After an error, the session is of no use. failed is an error of the
// snapshot itself, and err one of the store or of the way to the session.
func (r *Reader) Restore(ctx context.Context, inside orchestrator.Inside, session string) (failed, err error) {
	in := &source{r: r}
	var words Words
	process, err := inside.Start(ctx, agent.Command{
		Session: session, Work: agent.UnpackWork, Stdin: in, Stderr: &words, WaitDelay: endTime,
	})
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() {
		r.Close()
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
		defer cancel()
		process.Kill(kill)
	})()
	exit, err := process.Wait()
	if failed = words.Failure(exit); failed != nil && !in.whole && in.err == nil && ctx.Err() == nil {
		io.Copy(io.Discard, in) // the end tells whether it is what was stored
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case in.err != nil: // the program has not got all, and cannot say why
		return nil, in.err
	case failed != nil:
		return fmt.Errorf("it cannot be unpacked: %w", failed), nil
	case err != nil:
		return nil, err
	case !in.whole: // nothing says that it is what was stored
		return fmt.Errorf("%w: it was not read to its end", orchestrator.ErrSnapshotCorrupt), nil
	}
	return nil, nil
}

// source is what a program unpacks.
type source struct {
	r     *Reader
	whole bool  // the end was read, and all before it is verified
	err   error // of the store
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	switch {
	case err == io.EOF:
		s.whole = true
	case err != nil:
		s.err = err
	}
	return n, err
}

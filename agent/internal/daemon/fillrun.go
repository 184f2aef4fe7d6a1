package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/berth-go/berth/agent/internal/disk"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/proc"
)

// A fillRun is one run of a command that fills a cache, or prepares a layer.
type fillRun struct {
	session  *session
	args     []string
	env      []string // of the request
	top      string   // the directory of the session's place
	measured string   // the directory that may have most bytes
	most     int64
	over     string // says that it has more
}

// fillLook is how often the size of a fill is looked at.
const fillLook = 2 * time.Second

// do returns when the command has ended. Its descendants may live on. The error has the last words of the command.
func (r *fillRun) do(ctx context.Context) error {
	in, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer in.Close()
	out, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close() // also ends the copying
	env := append(append([]string(nil), r.session.place.Env...), r.env...)
	p, err := r.session.room.Start(proc.Spec{
		Args: r.args, Path: lookup(env, "PATH"), Env: env, Dir: r.session.place.Workdir, UID: r.session.UID, Helper: true,
		Files: [3]uintptr{in.Fd(), w.Fd(), w.Fd()},
	})
	w.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", r.args[0], err)
	}
	words, read := new(lastBytes), make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(words, out)
	}()
	tick := time.NewTicker(fillLook)
	defer tick.Stop()
	for {
		select {
		case <-p.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			if err := r.tooLarge(ctx); err != nil {
				return err
			}
			continue
		}
		break
	}
	select { // a process that it has left behind may hold the pipe
	case <-read:
	case <-time.After(time.Second):
	}
	return r.outcome(p, words.String())
}

func (r *fillRun) outcome(p *proc.Process, words string) error {
	code, signal := p.Exit()
	words = git.Scrub(words, secretsOf(r.env)...)
	switch {
	case p.OutOfMemory():
		return errors.New("it ran out of memory")
	case signal != 0:
		return fmt.Errorf("signal %d has ended %s: %s", signal, r.args[0], words)
	case code != 0:
		return fmt.Errorf("%s: exit status %d: %s", r.args[0], code, words)
	}
	return nil
}

// tooLarge returns an error if the command has written more than it may, or leaves too little room for sessions.
func (r *fillRun) tooLarge(ctx context.Context) error {
	m := new(place.Measuring)
	over := func() bool {
		var bytes float64
		for _, u := range m.Usage {
			bytes += u.Bytes
		}
		return bytes > float64(r.most)
	}
	m.Step = func() bool { return !over() }
	if err := m.Measure(ctx, r.measured); err != nil {
		return err
	}
	if over() {
		return errors.New(r.over)
	}
	if left, err := disk.Of(r.top); err == nil && left.Bytes < left.Kept {
		return errors.New("no space left on device")
	}
	return nil
}

// secretsOf returns the values of an environment, which an error must not have, and the passwords in them.
func secretsOf(env []string) (secrets []string) {
	const short = 5 // "true", "off": to leave them out would only make the words unclear
	for _, kv := range env {
		_, value, _ := strings.Cut(kv, "=")
		if len(value) < short {
			continue
		}
		secrets = append(secrets, value)
		if u, err := url.Parse(value); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok && password != "" {
				secrets = append(secrets, password)
			}
			secrets = append(secrets, u.User.String())
		}
	}
	return secrets
}

package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// printed is how many bytes a command prints at its end. All of them are on their way when it has ended.
const printed = 60_000

// work does the work of commands. The first argument says how long a command runs, and the second one, if any, its exit
// code. If there is a third one, it is the repository for which git asks for a credential.
func work(ctx context.Context, c fake.Command) int {
	d, err := time.ParseDuration(c.Args[1])
	if err != nil {
		return 2
	}
	if len(c.Args) > 3 {
		ask(ctx, c)
	}
	pause(ctx, d)
	if _, err := io.WriteString(c.Stdout, strings.Repeat("x", printed)); err != nil {
		return 2
	}
	if len(c.Args) > 2 && c.Args[2] != "0" {
		return 3
	}
	return 0
}

// reader is the Writer of a task's command. It is slow, so that something may happen meanwhile.
type reader struct {
	pause time.Duration
	n     atomic.Int64
}

func (r *reader) Write(b []byte) (int, error) {
	time.Sleep(r.pause)
	r.n.Add(int64(len(b)))
	return len(b), nil
}

// command runs the task's command. Its session may end under it.
func (t *task) command(s *berth.Session, hold time.Duration) {
	ctx, cancel := context.WithTimeout(t.ctx, 10*time.Minute)
	defer cancel()
	code := "0"
	if t.will(0.5, "fails") {
		code = "3"
	}
	out := &reader{pause: t.plan.dice.upTo(time.Second, t.name, "reads")}
	args := []string{hold.String(), code}
	if t.plan.credentials() {
		args = append(args, s.Info().Repository.String())
	}
	cmd, said := s.Command(ctx, "work", args...), &complaints{to: t.rules}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	said.check(t.name)
	t.rules.delivered(t.name, code, out.n.Load(), err)
	t.rules.ran(s, err)
}

// delivered checks that the output of a command arrived to the last byte, or that the command's error says that it did
// not.
func (r *rules) delivered(task, code string, n int64, err error) {
	exit, failed := errors.AsType[*berth.ExitError](err)
	ended := err == nil || failed && exit.Signal == 0 // by itself
	if errors.Is(err, berth.ErrOutputCut) {
		r.world.trace.saw("output was cut off")
		if ended {
			r.world.trace.saw("output of a command that had ended was cut off")
		}
		return
	}
	if ended && n != printed {
		r.broken("the command of %s printed %d bytes, of which %d came, and its error is: %v", task, printed, n, err)
	}
	if ended && failed != (code == "3") {
		r.broken("the command of %s exits with %s, and its error is: %v", task, code, fmt.Sprint(err))
	}
}

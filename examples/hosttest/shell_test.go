package hosttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/fake"
)

// shell does what the scripts of runs.go do in a real container, with an agent that works for twenty minutes. TestRunsOnDocker
// checks that the scripts do the same.
func shell() func(context.Context, fake.Command) int {
	var starting sync.Mutex
	return func(ctx context.Context, c fake.Command) int {
		run := c.Env["RUN"]
		switch c.Args[2] {
		case startScript:
			starting.Lock()
			_, err := c.Files.Read(run + ".output")
			if err == nil {
				starting.Unlock()
				fmt.Fprintln(c.Stdout, "started")
				return 0
			}
			c.Files.Write(run+".output", nil)
			starting.Unlock()
			fmt.Fprintln(c.Stdout, "started")
			output := file{c.Files, run + ".output"}
			code := work(ctx, strings.NewReader(c.Env["PROMPT"]), output)
			if ctx.Err() == nil {
				c.Files.Write(run+".exit", []byte(strconv.Itoa(code)))
			}
			return code
		case lookScript:
			output, err := c.Files.Read(run + ".output")
			if errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintln(c.Stdout, "absent")
				return 0
			}
			if code, err := c.Files.Read(run + ".exit"); err == nil {
				fmt.Fprintf(c.Stdout, "exited %s\n", code)
			} else {
				fmt.Fprintln(c.Stdout, "running")
			}
			from, _ := strconv.Atoi(c.Env["FROM"])
			c.Stdout.Write(output[min(from, len(output)):])
			return 0
		}
		return 127
	}
}

// work stands in for the coding agent. It works for twenty minutes of virtual time, for which the test does not wait. It ends
// when it is killed.
func work(ctx context.Context, prompt io.Reader, output io.Writer) int {
	said, _ := io.ReadAll(prompt)
	fmt.Fprintln(output, "thinking")
	select {
	case <-time.After(20 * time.Minute):
	case <-ctx.Done():
		return -9
	}
	if len(said) == 0 {
		fmt.Fprintln(output, "what shall I do?")
		return 2
	}
	fmt.Fprintf(output, "done: %s\n", said)
	return 0
}

// file appends to a file of a session.
type file struct {
	files *fake.Files
	name  string
}

func (f file) Write(b []byte) (int, error) {
	old, _ := f.files.Read(f.name)
	f.files.Write(f.name, append(old, b...))
	return len(b), nil
}

package enginetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The commands that the suite runs. An engine that runs real ones needs them on its image; any other has [Execute].
var (
	cmdTrue     = []string{"true"}
	cmdFalse    = []string{"false"}
	cmdExit3    = []string{"sh", "-c", "exit 3"}
	cmdKilled   = []string{"sh", "-c", "kill -15 $$"}
	cmdEcho     = []string{"echo", "hello"}
	cmdCat      = []string{"cat"}
	cmdForever  = []string{"sleep", "100000"}
	cmdBrief    = []string{"sleep", "1"}
	cmdTree     = []string{"sh", "-c", "sleep 100000 & sleep 100000"}
	cmdBoth     = []string{"sh", "-c", "echo out; echo err >&2"}
	cmdMixed    = []string{"sh", "-c", "echo 1; echo 2 >&2; echo 3; echo 4 >&2"}
	cmdAnswer   = []string{"sh", "-c", "echo one; read line; echo two"}
	cmdGreeting = []string{"sh", "-c", `echo "$GREETING"`}
	cmdDir      = []string{"pwd"}
	cmdZeros    = []string{"head", "-c", "8388608", "/dev/zero"}
	cmdWrite    = []string{"sh", "-c", "cat > note"} // and cmdRead(path of note) reads it
	cmdAbsent   = []string{"no-such-program"}
)

const (
	zeros = 8 << 20     // bytes that cmdZeros prints
	brief = time.Second // that cmdBrief runs
)

func cmdRead(path string) []string { return []string{"cat", path} }

// Programs are the programs that the suite starts and expects to be there.
var Programs = []string{"cat", "echo", "false", "head", "pwd", "sh", "sleep", "true"}

// Invocation is a command of the suite for [Execute].
type Invocation struct {
	Args           []string
	Env            map[string]string
	Dir            string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Files          Files
}

// Files are the files of one session. Names are as commands give them: relative ones are relative to the checkout.
type Files interface {
	Read(name string) ([]byte, error)
	Write(name string, content []byte)
}

// Execute does what a command of the suite does, for an engine that runs none. It returns the exit code, or below 0 the
// signal that ended it, negated. It returns when ctx ends.
func Execute(ctx context.Context, c Invocation) int {
	is := func(command []string) bool { return slices.Equal(c.Args, command) }
	print := func(w io.Writer, text string) int {
		if _, err := io.WriteString(w, text); err != nil {
			return 1
		}
		return 0
	}
	switch {
	case is(cmdTrue):
		return 0
	case is(cmdFalse):
		return 1
	case is(cmdExit3):
		return 3
	case is(cmdKilled):
		return -15
	case is(cmdForever), is(cmdTree):
		<-ctx.Done()
		return -9
	case is(cmdBrief):
		timer := time.NewTimer(brief)
		defer timer.Stop()
		select {
		case <-timer.C:
			return 0
		case <-ctx.Done():
			return -9
		}
	case is(cmdEcho):
		return print(c.Stdout, "hello\n")
	case is(cmdGreeting):
		return print(c.Stdout, c.Env["GREETING"]+"\n")
	case is(cmdDir):
		return print(c.Stdout, c.Dir+"\n")
	case is(cmdBoth):
		return print(c.Stdout, "out\n") + print(c.Stderr, "err\n")
	case is(cmdMixed):
		return print(c.Stdout, "1\n") + print(c.Stderr, "2\n") + print(c.Stdout, "3\n") + print(c.Stderr, "4\n")
	case is(cmdAnswer):
		print(c.Stdout, "one\n")
		_, _ = bufio.NewReader(c.Stdin).ReadString('\n') // as read does, it goes on at the end too
		return print(c.Stdout, "two\n")
	case is(cmdZeros):
		return copied(io.CopyN(c.Stdout, zeroReader{}, zeros))
	case is(cmdCat):
		return copied(io.Copy(c.Stdout, c.Stdin))
	case is(cmdWrite):
		content, err := io.ReadAll(c.Stdin)
		if err != nil {
			return 1
		}
		c.Files.Write("note", content)
		return 0
	case len(c.Args) == 2 && c.Args[0] == "cat":
		name := strings.TrimPrefix(c.Args[1], strings.TrimSuffix(c.Dir, "/")+"/")
		content, err := c.Files.Read(name)
		if err != nil {
			print(c.Stderr, "cat: "+c.Args[1]+": No such file or directory\n")
			return 1
		}
		return print(c.Stdout, string(content))
	}
	print(c.Stderr, fmt.Sprintf("enginetest: %q is no command of the suite\n", c.Args))
	return 127
}

func copied(_ int64, err error) int {
	if err != nil {
		return 1
	}
	return 0
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

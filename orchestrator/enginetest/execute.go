package enginetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	sshagent "golang.org/x/crypto/ssh/agent"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
)

// Invocation is a command of the suite for [Execute].
type Invocation struct {
	Args           []string
	Env            map[string]string
	Dir            string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Files          Files
	Signals        func() <-chan os.Signal                     // asks for the command's signals
	Size           func() (size agent.Size, c <-chan struct{}) // of its terminal; nil = it has none
	Listen         func(port int) (net.Listener, error)
	Credential     func(context.Context, agent.Question) (agent.Answer, error) // asks for a credential
	SSHAgent       func(context.Context) (net.Conn, error)                     // connects with the agent of ssh
}

// Files are the files of one session. Names are as commands give them: relative names are relative to the checkout.
type Files interface {
	// Read returns the content of a file, or an error if there is no such file.
	Read(name string) ([]byte, error)
	// Write makes a file, or replaces its content.
	Write(name string, content []byte)
}

// killed is the result of a command that signal 9 has ended.
const killed = -9

// executed holds what each command does.
var executed = []struct {
	command []string
	do      func(context.Context, Invocation) int
}{
	{cmdTrue, ends(0)},
	{cmdFalse, ends(1)},
	{cmdExit3, ends(3)},
	{cmdKilled, ends(-15)},
	{cmdForever, waits},
	{cmdTree, waits},
	{cmdHog, waits},
	{cmdHogChild, waits},
	{cmdTrap, traps},
	{cmdTrapTree, traps},
	{cmdServe, serves},
	{cmdAsk, asks},
	{cmdKeys, keys},
	{cmdTerminal, func(_ context.Context, c Invocation) int {
		in := bufio.NewReader(c.Stdin)
		shown := func() {
			size, _ := c.Size()
			print(c.Stdout, fmt.Sprintf("%d %d\r\n", size.Rows, size.Cols))
		}
		shown()
		line, _ := in.ReadString('\n')
		line = strings.TrimSuffix(line, "\n")
		print(c.Stdout, line+"\r\ngot "+line+"\r\n")
		shown()
		return 5
	}},
	{cmdBrief, func(ctx context.Context, _ Invocation) int {
		if loop.Sleep(ctx, brief) != nil {
			return killed
		}
		return 0
	}},
	{cmdEcho, func(_ context.Context, c Invocation) int { return print(c.Stdout, "hello\n") }},
	{cmdGreeting, func(_ context.Context, c Invocation) int { return print(c.Stdout, c.Env["GREETING"]+"\n") }},
	{cmdDir, func(_ context.Context, c Invocation) int { return print(c.Stdout, c.Dir+"\n") }},
	{cmdBoth, func(_ context.Context, c Invocation) int { return print(c.Stdout, "out\n") + print(c.Stderr, "err\n") }},
	{cmdMixed, func(_ context.Context, c Invocation) int {
		return print(c.Stdout, "1\n") + print(c.Stderr, "2\n") + print(c.Stdout, "3\n") + print(c.Stderr, "4\n")
	}},
	{cmdAnswer, func(_ context.Context, c Invocation) int {
		print(c.Stdout, "one\n")
		_, _ = bufio.NewReader(c.Stdin).ReadString('\n') // at the end of its input it continues, as read does
		return print(c.Stdout, "two\n")
	}},
	{cmdZeros, func(_ context.Context, c Invocation) int { return copied(io.CopyN(c.Stdout, zeroReader{}, zeros)) }},
	{cmdPage, func(_ context.Context, c Invocation) int { return copied(io.CopyN(c.Stdout, zeroReader{}, page)) }},
	{cmdCat, func(_ context.Context, c Invocation) int { return copied(io.Copy(c.Stdout, c.Stdin)) }},
	{cmdWrite, func(_ context.Context, c Invocation) int { return stores(c, "note") }},
	{cmdPrepare, func(_ context.Context, c Invocation) int {
		c.Files.Write("note", []byte("prepared\n"))
		c.Files.Write("dep/greeting", []byte(c.Env["GREETING"]+"\n"))
		c.Files.Write(c.Env["HOME"]+"/kept/note", []byte("home\n"))
		return 0
	}},
	{cmdKept, func(_ context.Context, c Invocation) int { return prints(c, c.Env["HOME"]+"/kept/note") }},
	{cmdKeep, func(_ context.Context, c Invocation) int {
		home, tmp := c.Env["HOME"]+"/note", c.Env["TMPDIR"]+"/note"
		return stores(c, home, tmp) + print(c.Stdout, home+"\n"+tmp+"\n")
	}},
}

// Execute does what a command of the suite does, for an engine that runs no commands. It returns the exit code. If a
// signal has ended the command, it returns the signal's number, negated. It returns when ctx ends.
func Execute(ctx context.Context, c Invocation) int {
	for _, e := range executed {
		if slices.Equal(c.Args, e.command) {
			return e.do(ctx, c)
		}
	}
	if len(c.Args) == 2 && slices.Equal(c.Args, cmdRead(c.Args[1])) {
		name := strings.TrimPrefix(c.Args[1], strings.TrimSuffix(c.Dir, "/")+"/")
		return prints(c, name)
	}
	print(c.Stderr, fmt.Sprintf("enginetest: %q is not a command of the suite\n", c.Args))
	return 127
}

// prints writes a file to the command's output, as cat does.
func prints(c Invocation, name string) int {
	content, err := c.Files.Read(name)
	if err != nil {
		print(c.Stderr, "cat: "+name+": No such file or directory\n")
		return 1
	}
	return print(c.Stdout, string(content))
}

func ends(result int) func(context.Context, Invocation) int {
	return func(context.Context, Invocation) int { return result }
}

func waits(ctx context.Context, _ Invocation) int {
	<-ctx.Done()
	return killed
}

// traps waits for a signal.
func traps(ctx context.Context, c Invocation) int {
	signals := c.Signals()
	print(c.Stdout, "ready\n")
	select {
	case <-signals:
		return 7
	case <-ctx.Done():
		return killed
	}
}

// serves answers as cmdServe does.
func serves(_ context.Context, c Invocation) int {
	l, err := c.Listen(servePort)
	if err != nil {
		return 1
	}
	print(c.Stdout, "ready\n")
	for {
		conn, err := l.Accept()
		if err != nil {
			return killed
		}
		go func() { // ends with the connection
			defer conn.Close()
			request, err := bufio.NewReader(conn).ReadString(0)
			_, path, _ := strings.Cut(strings.TrimSuffix(request, "\x00"), " ")
			if err == nil {
				print(conn, refusal(path))
			}
		}()
	}
}

// keys answers as cmdKeys does.
func keys(ctx context.Context, c Invocation) int {
	conn, err := c.SSHAgent(ctx)
	if err != nil {
		fmt.Fprintln(c.Stderr, err)
		return 2
	}
	defer conn.Close()
	all, err := sshagent.NewClient(conn).List()
	if err != nil {
		fmt.Fprintln(c.Stderr, err)
		return 1
	}
	for _, key := range all {
		fmt.Fprintln(c.Stdout, key)
	}
	return 0
}

// asks answers as cmdAsk does.
func asks(ctx context.Context, c Invocation) int {
	question, err := io.ReadAll(c.Stdin)
	if err != nil {
		return 1
	}
	of, _ := strings.CutPrefix(strings.TrimSpace(string(question)), "url=")
	a, err := c.Credential(ctx, agent.Question{URL: of})
	switch {
	case err != nil:
		print(c.Stderr, err.Error())
		return 128
	case a.Refusal != "":
		print(c.Stderr, a.Refusal)
		return 128
	}
	return print(c.Stdout, "username="+a.Username+"\npassword="+a.Password+"\n")
}

// stores writes the command's input to files.
func stores(c Invocation, names ...string) int {
	content, err := io.ReadAll(c.Stdin)
	if err != nil {
		return 1
	}
	for _, name := range names {
		c.Files.Write(name, content)
	}
	return 0
}

func print(w io.Writer, text string) int {
	_, err := io.WriteString(w, text)
	return copied(0, err)
}

func copied(_ int64, err error) int {
	if err != nil {
		return 1
	}
	return 0
}

type zeroReader struct{}

// Read implements [io.Reader].
func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

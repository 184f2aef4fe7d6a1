package agent_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-go/berth/agent"
)

// TestTerminal holds that a command's terminal is a real one: of its uid, the controlling terminal of its process, with the keys that
// every terminal has.
func TestTerminal(t *testing.T) {
	signal.Ignore(syscall.SIGHUP) // as nohup does. The agent inherits it, and its commands do not
	t.Cleanup(func() { signal.Reset(syscall.SIGHUP) })
	r := start(t)
	r.session(t, "s", 10001)
	size := &agent.Size{Rows: 30, Cols: 100}
	run := func(c agent.Command, want string, exit agent.Exit) {
		t.Helper()
		var out bytes.Buffer
		c.Session, c.Stdout, c.Terminal = "s", &out, size
		p, err := r.Start(testContext(t), c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Wait(); err != nil || got != exit || out.String() != want {
			t.Errorf("%q ends with %+v, %v and shows %q; want %+v and %q", c.Args, got, err, out.String(), exit, want)
		}
	}
	sh := func(script string) []string { return []string{"sh", "-c", script} }
	run(agent.Command{Args: sh(`stat -c %u "$(tty)"; echo $TERM; echo err >&2; : </dev/tty && stty size`)}, "10001\r\nxterm\r\nerr\r\n30 100\r\n", agent.Exit{})
	run(agent.Command{Args: sh("echo $TERM"), Env: []string{"TERM=vt100"}}, "vt100\r\n", agent.Exit{})
	run(agent.Command{Args: []string{"cat"}, Stdin: strings.NewReader("hello\n")}, "hello\r\nhello\r\n", agent.Exit{}) // its end is Ctrl-D
	keys, typed := io.Pipe()
	go io.WriteString(typed, "\x03") // which interrupts
	run(agent.Command{Args: []string{"sleep", "100000"}, Stdin: keys, Ended: func(agent.Exit, error) { typed.Close() }}, "^C", agent.Exit{Code: -1, Signal: 2})
	var lines strings.Builder
	for i := range 100000 {
		fmt.Fprintf(&lines, "%d\r\n", i+1)
	}
	run(agent.Command{Args: sh("seq 1 100000 >/dev/tty; kill -9 $$")}, lines.String(), agent.Exit{Code: -1, Signal: 9}) // nothing is lost

	p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: sh("echo x; sleep 100000"), Stdout: &brokenWriter{}, Terminal: size})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); !errors.Is(err, errBroken) || exit != (agent.Exit{Code: -1, Signal: 1}) {
		t.Errorf("a terminal that was closed ends its program with %+v, %v", exit, err)
	}

	// Nobody reads what it shows, which does not hold it up.
	p, err = r.Start(testContext(t), agent.Command{Session: "s", Args: sh("seq 1 100000; exit 3"), Terminal: size})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 3 {
		t.Errorf("a program whose terminal nobody reads ends with %+v, %v", exit, err)
	}
	if err := p.Signal(testContext(t), syscall.SIGTERM, true); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a signal for a program that has ended: %v", err)
	}
}

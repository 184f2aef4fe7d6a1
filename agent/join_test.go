package agent_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// joiner dials an agent through "berth-agent join", as the engine runs it.
type joiner struct {
	tb      testing.TB
	a       *agenttest.Agent
	sockets bool // join gets sockets, which it does not hand over

	mu   sync.Mutex // protects what follows
	cmds []*exec.Cmd
}

// piped is the connection over a join's standard streams.
type piped struct {
	net.Conn // has the deadlines; nil for pipes, whose client sets none
	in       io.WriteCloser
	out      io.ReadCloser
}

func (c piped) Read(p []byte) (int, error)       { return c.out.Read(p) }
func (c piped) Write(p []byte) (int, error)      { return c.in.Write(p) }
func (c piped) Close() error                     { c.in.Close(); return c.out.Close() }
func (c piped) SetDeadline(time.Time) error      { return nil }
func (c piped) SetReadDeadline(time.Time) error  { return nil }
func (c piped) SetWriteDeadline(time.Time) error { return nil }

func (j *joiner) dial(context.Context) (net.Conn, error) {
	cmd := exec.Command(agenttest.Program(j.tb), "join", "-socket", j.a.Socket)
	var conn net.Conn
	var theirs []*os.File
	if j.sockets {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		ours := os.NewFile(uintptr(fds[0]), "ours")
		theirs = []*os.File{os.NewFile(uintptr(fds[1]), "theirs")}
		if conn, err = net.FileConn(ours); err != nil {
			return nil, err
		}
		ours.Close()
		cmd.Stdin, cmd.Stdout = theirs[0], theirs[0]
	} else {
		stdin, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		r, stdout, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		conn, theirs = piped{in: w, out: r}, []*os.File{stdin, stdout}
		cmd.Stdin, cmd.Stdout = stdin, stdout
	}
	err := cmd.Start()
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%w: %w", agent.ErrGone, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cmds = append(j.cmds, cmd)
	return conn, nil
}

// last returns the process of the last join.
func (j *joiner) last() *os.Process {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cmds[len(j.cmds)-1].Process
}

// wantEnded checks that all joins end.
func (j *joiner) wantEnded(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, cmd := range j.cmds {
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("join %d of %d goes on", i, len(j.cmds))
			cmd.Process.Kill()
			<-ended
		}
	}
}

func startJoined(t *testing.T, sockets bool) (*ready, *joiner) {
	r := start(t)
	r.session(t, "s", 10001)
	j := &joiner{tb: t, a: r.agent, sockets: sockets}
	r.Client = agent.NewClient(j.dial, agent.ClientOptions{})
	t.Cleanup(func() { r.Client.Close() })
	return r, j
}

// both copies n bytes through a command, and checks that they come back. also gets them too.
func (r *ready) both(t *testing.T, n int64, also ...io.Writer) {
	t.Helper()
	want, got := newHashed(), newHashed()
	p, err := r.Start(testContext(t), agent.Command{
		Session: "s", Args: []string{"cat"}, Stdin: io.TeeReader(noise(4, n), want), Stdout: io.MultiWriter(append(also, got)...),
	})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 || want.String() != got.String() {
		t.Errorf("%+v, %v: sent %v, received %v", exit, err, want, got)
	}
}

// TestJoinHandsItsPipesOver, and copies if it has none.
func TestJoinHandsItsPipesOver(t *testing.T) {
	for _, sockets := range []bool{false, true} {
		r, j := startJoined(t, sockets)
		r.both(t, 20<<20)
		var standard []string
		for _, fd := range []string{"0", "1"} {
			if name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", j.last().Pid, fd)); err == nil {
				standard = append(standard, name)
			}
		}
		if copies := len(standard) == 2 && strings.HasPrefix(standard[0], "socket:"); copies != sockets {
			t.Errorf("with sockets %t, join has %q as its standard streams", sockets, standard)
		}
		r.Client.Close()
		j.wantEnded(t)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestAJoinThatDies ends its connection. Streams go on over the next one.
func TestAJoinThatDies(t *testing.T) {
	r, j := startJoined(t, false)
	pipes := func() (n int) {
		dir := fmt.Sprintf("/proc/%d/fd/", r.agent.Pid())
		files, _ := os.ReadDir(dir)
		for _, file := range files {
			if name, _ := os.Readlink(dir + file.Name()); strings.HasPrefix(name, "pipe:") {
				n++
			}
		}
		return n
	}
	before := pipes()
	const each = 2 << 20 // a join that is killed has brought so many bytes, however slow it started
	var left int64 = each
	killer := writerFunc(func(p []byte) (int, error) {
		if left -= int64(len(p)); left <= 0 {
			left = each
			j.last().Kill()
		}
		return len(p), nil
	})
	for range 3 {
		r.both(t, 10<<20, killer)
	}
	r.Client.Close()
	j.wantEnded(t)
	if len(j.cmds) < 3 {
		t.Errorf("%d joins", len(j.cmds))
	}
	for deadline := time.Now().Add(patience); pipes() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the agent has %d open pipes, and had %d", pipes(), before)
		}
	}
}

// TestAClientThatGoesAway ends its join, also while nobody reads what the agent writes.
func TestAClientThatGoesAway(t *testing.T) {
	r, j := startJoined(t, false)
	p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"yes"}, Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	r.Client.Close()
	p.Wait()
	j.wantEnded(t)
}

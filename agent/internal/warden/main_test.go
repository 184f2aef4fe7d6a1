package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/rpc"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/room"
)

// A copy of the test program is the agent, the warden and the init in the containers of the tests.

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "berth-agent" || len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serveTest(os.Args[2])
	case "init":
		err = initTest(os.NewFile(controlFD, "control"))
	case "ask": // by another process than the agent
		_, err = Dial(testSocket).Isolation(context.Background())
	case "queue": // a System V message queue
		_, err = call("msgget", syscall.SYS_MSGGET, 77, 0o1666)
	case "rename": // a directory, by the system call: mv copies it if that fails
		err = os.Rename(os.Args[2], os.Args[3])
	case "hold":
		err = holdSockets()
	case "lent":
		err = useLent()
	case "room":
		err = Enter(os.Args[2:])
	case "warden":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = New(Options{
			Socket: testSocket, Hidden: []string{filepath.Dir(testSocket)},
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		}).Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

const (
	testSocket = "/berth/warden/warden.sock"
	testRun    = "/berth/run"
)

// Agent is the agent of the tests. Its methods are called over the socket.
type Agent struct {
	warden *Client

	mu    sync.Mutex
	rooms map[string]*testRoom
}

type testRoom struct {
	mu      sync.Mutex // held from a request to its answer
	control *os.File
	pid     int
}

func serveTest(socket string) error {
	a := &Agent{warden: Dial(testSocket), rooms: make(map[string]*testRoom)}
	rpc.Register(a)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	go a.reap(children)
	os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	rpc.Accept(l)
	return nil
}

// reap collects the inits that the end of a helper leaves to the agent.
func (a *Agent) reap(children <-chan os.Signal) {
	for range children {
		a.mu.Lock()
		for _, r := range a.rooms {
			syscall.Wait4(r.pid, nil, syscall.WNOHANG, nil)
		}
		a.mu.Unlock()
	}
}

// Opened describes an open room.
type Opened struct {
	PID  int
	Took time.Duration // of Open alone
}

func (a *Agent) Open(s room.Spec, o *Opened) error {
	if s.Dir != "" {
		if err := os.MkdirAll(s.Dir, 0o700); err != nil {
			return err
		}
		os.Chown(s.Dir, s.UID, s.UID)
	}
	begun := time.Now()
	control, pid, err := a.warden.Open(context.Background(), s)
	o.Took = time.Since(begun)
	if err != nil {
		return err
	}
	o.PID = pid
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rooms[s.ID] = &testRoom{control: control, pid: pid}
	return nil
}

// Try tries a checkout in a directory.
func (a *Agent) Try(dir string, why *string) (err error) {
	*why, err = a.warden.TryCheckout(context.Background(), dir)
	return err
}

// NoCheckout opens a room, and reports whether its checkout is why that fails.
func (a *Agent) NoCheckout(s room.Spec, none *bool) error {
	control, _, err := a.warden.Open(context.Background(), s)
	if err == nil {
		control.Close()
	}
	*none = errors.Is(err, room.ErrNoCheckout)
	return nil
}

// Unlinked counts the bytes of removed files in a room.
func (a *Agent) Unlinked(id string, bytes *int64) (err error) {
	*bytes, err = a.warden.Unlinked(context.Background(), id, "/sessions/"+id)
	return err
}

// Sockets counts the sockets in a room.
func (a *Agent) Sockets(id string, n *int) (err error) {
	*n, err = a.warden.Sockets(context.Background(), id)
	return err
}

// Take gives a spare room to a session.
func (a *Agent) Take(s room.Spec, took *time.Duration) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	os.Chown(s.Dir, s.UID, s.UID)
	begun := time.Now()
	err := a.warden.Take(context.Background(), s)
	*took = time.Since(begun)
	return err
}

// Kill kills the init of a room and waits for its end.
func (a *Agent) Kill(id string, took *time.Duration) error {
	begun := time.Now()
	a.mu.Lock()
	r := a.rooms[id]
	delete(a.rooms, id)
	a.mu.Unlock()
	if r == nil {
		return fmt.Errorf("no room %s", id)
	}
	fd, err := pidfdOpen(r.pid)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := pidfdKill(fd); err != nil {
		return err
	}
	if !awaitEnd(fd, 10*time.Second) {
		return fmt.Errorf("the init of room %s does not end", id)
	}
	r.control.Close()
	*took = time.Since(begun)
	return nil
}

func (a *Agent) Close(id string, took *time.Duration) error {
	begun := time.Now()
	err := a.warden.Close(context.Background(), id)
	*took = time.Since(begun)
	return err
}

func (a *Agent) Isolation(_ int, i *room.Isolation) (err error) {
	*i, err = a.warden.Isolation(context.Background())
	return err
}

// Walls puts up walls with an allow list of names, and pins an address for a minute.
func (a *Agent) Walls(names []string, _ *int) error {
	err := a.warden.PutUpWalls(context.Background(), egress.Policy{Mode: egress.AllowList, Names: names})
	return errors.Join(err, a.warden.Pin(context.Background(), []netip.Addr{netip.MustParseAddr("52.1.2.3")}, time.Minute))
}

// Lend lets a process use a connection of the agent. Its error is that of the process.
func (a *Agent) Lend(_ int, answer *string) error {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: testSocket, Net: "unixpacket"})
	if err != nil {
		return err
	}
	f, err := conn.File()
	if err != nil {
		return err
	}
	cmd := exec.Command("/berth/bin/berth-agent", "lent")
	cmd.Args[0], cmd.ExtraFiles = "berth-agent", []*os.File{f}
	out, err := cmd.CombinedOutput()
	*answer = string(out)
	return err
}

// useLent uses the connection that Lend passed.
func useLent() error {
	conn, err := net.FileConn(os.NewFile(3, "lent"))
	if err != nil {
		return err
	}
	_, _, _, err = exchange(context.Background(), conn.(*net.UnixConn), request{Op: opIsolation})
	return err
}

// Connect makes connections, and returns how many of them the warden serves.
func (a *Agent) Connect(n int, served *int) error {
	for range n {
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: testSocket, Net: "unixpacket"})
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, _, _, err := exchange(context.Background(), conn, request{Op: opIsolation}); err == nil {
			*served++
		}
	}
	return nil
}

// Send sends a text as a request, and returns the answer's error.
func (a *Agent) Send(text string, answered *string) error {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: testSocket, Net: "unixpacket"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(text)); err != nil {
		return err
	}
	var got answer
	_, err = receive(conn, make([]byte, maxMessage), 0, &got)
	*answered = got.Error
	return err
}

// A Command runs in a room, or, with Room "", outside of all.
type Command struct {
	Room       string
	UID        int
	Script     string
	Background bool // the answer does not wait for the end
}

// Done is the result of a command.
type Done struct {
	Output string
	Code   int // -1: killed
}

func (a *Agent) Run(c Command, d *Done) error {
	if c.Room == "" {
		*d = runTest(c)
		return nil
	}
	a.mu.Lock()
	r := a.rooms[c.Room]
	a.mu.Unlock()
	if r == nil {
		return fmt.Errorf("no room %s", c.Room)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	text, _ := json.Marshal(c)
	if _, err := r.control.Write(text); err != nil {
		return err
	}
	buffer := make([]byte, 128<<10)
	n, err := r.control.Read(buffer)
	if err != nil {
		return err
	}
	return json.Unmarshal(buffer[:n], d)
}

// initTest is the init of a room.
func initTest(control *os.File) error {
	syscall.CloseOnExec(controlFD)
	buffer := make([]byte, 128<<10)
	for {
		n, err := control.Read(buffer)
		if err != nil || n == 0 {
			return err
		}
		var c Command
		if err := json.Unmarshal(buffer[:n], &c); err != nil {
			return err
		}
		text, _ := json.Marshal(runTest(c))
		if _, err := control.Write(text); err != nil {
			return err
		}
	}
}

func runTest(c Command) Done {
	cmd := exec.Command("/bin/sh", "-c", c.Script)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.UID)}}
	if c.Background {
		if err := cmd.Start(); err != nil {
			return Done{Output: err.Error(), Code: -2}
		}
		go cmd.Wait()
		return Done{}
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return Done{Output: err.Error(), Code: -2}
	}
	return Done{strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()}
}

package warden

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// What holdSockets holds.
const (
	openSockets  = 200
	sentSockets  = 40
	ownOfAThread = 30
	allSockets   = openSockets + 2 + sentSockets + ownOfAThread // 2 are those that the sent ones wait in
)

// holdSockets opens sockets, sends some to itself, and opens others in a thread that has a table of files of its own.
func holdSockets() error {
	open := func(n int) (fds []int) {
		for range n {
			if fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); err == nil {
				fds = append(fds, fd)
			}
		}
		return fds
	}
	pair, err := socketpair()
	if err != nil {
		return err
	}
	sent := open(sentSockets)
	if err := syscall.Sendmsg(pair[0], []byte("x"), syscall.UnixRights(sent...), nil, 0); err != nil {
		return err
	}
	closeAll(sent)
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		const closeRange, unshare = 436, 2 // it closes none: engines refuse the system call unshare
		_, err := call("close_range", closeRange, 1<<20, 1<<30, unshare)
		open(ownOfAThread)
		done <- err
		select {}
	}()
	if err := <-done; err != nil {
		return err
	}
	open(openSockets)
	fmt.Println("ready")
	time.Sleep(time.Hour)
	return nil
}

// TestSocketsAreCounted holds that the warden finds the sockets of a room wherever they are, each once, and no others.
func TestSocketsAreCounted(t *testing.T) {
	b := newGround(t).box(t)
	count := func(id string) (n int) {
		t.Helper()
		if err := b.rpc.Call("Agent.Sockets", id, &n); err != nil {
			t.Error(err)
		}
		return n
	}
	for id, uid := range map[string]int{"a": 10001, "b": 10002} {
		b.open(spec(id, uid))
		b.run(id, uid, "true") // the init has closed by then what it was started with
	}
	before, other := count("a"), count("b")
	// The program hands what it has open on to no other process. The shell holds a pipe alone.
	if d := b.run("a", 10001, "exec 3>&1; /berth/bin/berth-agent hold </dev/null >/tmp/said 2>&1 3>&- & until grep -q . /tmp/said; do sleep 0.01; done; cat /tmp/said"); d.Output != "ready" {
		t.Fatalf("%+v", d)
	}
	if n := count("a") - before; n != allSockets {
		t.Errorf("%d sockets more, want %d", n, allSockets)
	}
	if n := count("b"); n != other {
		t.Errorf("the neighbour has %d sockets, before %d", n, other)
	}
	if n := count("no-such-room"); n != 0 {
		t.Errorf("a room that is not there has %d sockets", n)
	}
	b.close("a")
	b.close("b")
}

// TestManyFilesCountAsSockets: what is too much to be looked at hides nothing.
func TestManyFilesCountAsSockets(t *testing.T) {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	s := socketCount{files: maxFiles, seen: make(map[string]bool)}
	s.process(os.Getpid())
	if s.n < len(files)-1 {
		t.Errorf("%d of %d files were counted", s.n, len(files))
	}
}

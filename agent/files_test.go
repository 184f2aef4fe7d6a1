package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/filewire"
)

// serveFiles starts the program that serves the files of a session.
func serveFiles(t *testing.T, r *ready, session string) *filewire.Conn {
	t.Helper()
	stdin, requests := io.Pipe()
	answers, stdout := io.Pipe()
	p, err := r.Start(testContext(t), agent.Command{
		Session: session, Files: true, Stdin: stdin, Stdout: stdout, Ended: func(agent.Exit, error) { stdin.Close() },
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := filewire.NewConn(requests, answers)
	ended := make(chan struct{})
	go func() {
		p.Wait()
		stdout.Close()
		close(ended)
	}()
	t.Cleanup(func() {
		conn.Close(filewire.ErrLost)
		<-ended
	})
	return conn
}

// TestFilesLoseNothingWhenConnectionsBreak: an answer comes once and whole, however often the connection breaks.
func TestFilesLoseNothingWhenConnectionsBreak(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	c := throughCutter(t, r)
	conn := serveFiles(t, r, "s")
	stop := make(chan struct{})
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(rand.N(50 * time.Millisecond)):
				c.Cut()
			}
		}
	})
	call := func(q filewire.Request) filewire.Answer {
		a, err := conn.Call(testContext(t), &q)
		if err != nil {
			t.Fatalf("operation %d: %v", q.Op, err)
		}
		return a
	}
	opened := call(filewire.Request{Op: filewire.OpOpen, Paths: []string{"log"}, Flag: filewire.Write | filewire.Read | filewire.Create | filewire.Append, Mode: 0o600})
	var want bytes.Buffer
	for c.connections() < 5 || want.Len() < 4<<20 { // an append that was made twice would show
		part := make([]byte, 1+rand.IntN(filewire.MaxData-1))
		io.ReadFull(noise(uint64(want.Len()), int64(len(part))), part)
		want.Write(part)
		call(filewire.Request{Op: filewire.OpWrite, Handle: opened.Handle, Data: part})
	}
	var got []byte
	for end := false; !end; {
		a := call(filewire.Request{Op: filewire.OpRead, Handle: opened.Handle, Offset: int64(len(got)), Size: filewire.MaxData})
		got, end = append(got, a.Data...), a.End
	}
	close(stop)
	cutting.Wait()
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("read %d bytes, which are not the %d that were written", len(got), want.Len())
	}
}

// TestFilesAreNoCommand: the program that serves files is not listed and keeps no session in use, but what is asked of it counts.
func TestFilesAreNoCommand(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	conn := serveFiles(t, r, "s")
	if list, err := r.Commands(testContext(t), "s", 0); err != nil || len(list) > 0 {
		t.Errorf("the session has commands: %v, %v", list, err)
	}
	before, err := r.Idle(testContext(t), "s")
	if err != nil || before <= 0 {
		t.Errorf("idle for %v, %v", before, err)
	}
	for idle := before; idle <= before; { // until time has passed
		if idle, err = r.Idle(testContext(t), "s"); err != nil {
			t.Fatal(err)
		}
	}
	asked := time.Now()
	if _, err := conn.Call(testContext(t), &filewire.Request{Op: filewire.OpStat, Paths: []string{"."}}); err != nil {
		t.Fatal(err)
	}
	if idle, err := r.Idle(testContext(t), "s"); err != nil || idle > time.Since(asked) {
		t.Errorf("idle for %v, %v, although it was used", idle, err)
	}
	if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Call(testContext(t), &filewire.Request{Op: filewire.OpStat, Paths: []string{"."}}); !errors.Is(err, filewire.ErrLost) {
		t.Errorf("after the end of the session: %v", err)
	}
}

func TestAnAgentThatServesNoFiles(t *testing.T) {
	client := agent.NewClient(greeter(t, `{"protocol":1,"oldest":1,"build":"old","boot":"b"}`), agent.ClientOptions{})
	defer client.Close()
	_, err := client.Start(context.Background(), agent.Command{Session: "s", Files: true, Stdin: bytes.NewReader(nil), Stdout: io.Discard})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Start returned %v", err)
	}
}

package agent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/wire"
)

// teller is an agent of one command whose stdout is much. It lies, or its connection breaks.
type teller struct {
	mute
	size     int64                               // of stdout
	accepted int64                               // what it says of stdin
	old      bool                                // it does not know requests with follow
	follow   func(w io.Writer, from, size int64) // writes the answer to such a request; nil = as an agent does

	followed int     // protected by mu, like the following
	acks     []int64 // of all requests
}

// at returns the bytes of stdout from one offset to another.
func at(from, to int64) []byte {
	b := make([]byte, max(to-from, 0))
	for i := range b {
		b[i] = byte((from + int64(i)) * 31 >> 7)
	}
	return b
}

func (a *teller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.ParseInt(r.FormValue("from"), 10, 64)
	switch {
	case r.URL.Path == "/v1/hello":
		fmt.Fprintf(w, `{"protocol":1,"oldest":1,"boot":"b","follow":%t}`, !a.old)
	case strings.HasSuffix(r.URL.Path, "/exit"):
		fmt.Fprint(w, `{}`)
	case strings.HasSuffix(r.URL.Path, "/stdout") && r.FormValue("follow") != "":
		a.serveFollow(w, r, from)
	case strings.HasSuffix(r.URL.Path, "/stdout"):
		b := at(from, min(from+wire.Chunk, a.size))
		if from+int64(len(b)) == a.size {
			w.Header().Set("Berth-End", "1")
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.Write(b)
	case strings.HasSuffix(r.URL.Path, "/stdin"):
		fmt.Fprintf(w, `{"accepted":%d}`, a.accepted)
	case strings.HasPrefix(r.URL.Path, "/v1/commands/"):
	default:
		a.mute.ServeHTTP(w, r)
	}
}

func (a *teller) serveFollow(w http.ResponseWriter, r *http.Request, from int64) {
	control := http.NewResponseController(w)
	control.EnableFullDuplex()
	control.Flush()
	a.mu.Lock()
	a.followed++
	a.mu.Unlock()
	told := make(chan int64, 1<<16)
	go func() {
		defer close(told)
		for ack := make([]byte, wire.AckSize); ; {
			if _, err := io.ReadFull(r.Body, ack); err != nil {
				return
			}
			n := int64(binary.BigEndian.Uint64(ack))
			a.mu.Lock()
			a.acks = append(a.acks, n)
			a.mu.Unlock()
			told <- n
		}
	}()
	if a.follow != nil {
		a.follow(w, from, a.size)
		return
	}
	for acked := from; from < a.size; {
		to := min(acked+wire.Ahead, from+wire.Chunk, a.size)
		if _, err := w.Write(at(from, to)); err != nil {
			return
		}
		control.Flush()
		if from = to; from < acked+wire.Ahead {
			continue
		}
		var ok bool
		if acked, ok = <-told; !ok {
			return
		}
	}
}

// tell runs the command of a teller, whose output goes to out.
func (a *teller) tell(t *testing.T, out io.Writer) error {
	t.Helper()
	return a.run(t, agent.Command{Session: "s", Args: []string{"x"}, Stdout: out})
}

func (a *teller) run(t *testing.T, cmd agent.Command) error {
	t.Helper()
	a.conns, a.end, a.killed = make(chan net.Conn), make(chan struct{}), make(chan string, 1)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: protocols, Handler: a}
	var served sync.WaitGroup
	served.Go(func() { server.Serve(&a.mute) })
	client := agent.NewClient(a.dial, agent.ClientOptions{})
	p, err := client.Start(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Wait()
	client.Close()
	close(a.end)
	server.Close()
	served.Wait()
	time.Sleep(10 * time.Second) // until the handlers have ended
	return err
}

const much = 5<<20 + 12345

// TestMuchOutputIsFollowed: the acknowledgements never say more than the Writer was given, and never less than before.
func TestMuchOutputIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &teller{size: much}
		var out bytes.Buffer
		if err := a.tell(t, &out); err != nil || !bytes.Equal(out.Bytes(), at(0, much)) {
			t.Errorf("%d bytes of %d, or other ones, %v", out.Len(), much, err)
		}
		for i, ack := range a.acks {
			if ack > much || i > 0 && ack <= a.acks[i-1] {
				t.Errorf("acknowledgement %d of %d behind %v", i, ack, a.acks[:i])
			}
		}
		if a.followed != 1 || len(a.acks) < much/wire.Ahead {
			t.Errorf("it was followed %d times, with %d acknowledgements", a.followed, len(a.acks))
		}
	})
}

// TestAnOlderAgentIsNotAskedToFollow.
func TestAnOlderAgentIsNotAskedToFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &teller{size: much, old: true}
		var out bytes.Buffer
		if err := a.tell(t, &out); err != nil || !bytes.Equal(out.Bytes(), at(0, much)) || a.followed > 0 {
			t.Errorf("%d bytes of %d, or other ones, followed %d times, %v", out.Len(), much, a.followed, err)
		}
	})
}

// TestAFollowedStreamThatIsCut goes on at the right byte, wherever that is: the connection breaks, or the answer ends.
func TestAFollowedStreamThatIsCut(t *testing.T) {
	for _, n := range []int64{0, 1, 1000, 256 << 10, 256<<10 + 1, 700_000} {
		for _, breaks := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				a := &teller{size: much}
				a.follow = func(w io.Writer, from, size int64) {
					w.Write(at(from, min(from+n, size)))
					if breaks {
						w.(http.Flusher).Flush()
						synctest.Wait()
						a.cut(false)
					}
				}
				var out bytes.Buffer
				if err := a.tell(t, &out); err != nil || !bytes.Equal(out.Bytes(), at(0, much)) {
					t.Errorf("after %d bytes, breaks %t: %d bytes of %d, or other ones, %v", n, breaks, out.Len(), much, err)
				}
				if a.followed < 2 {
					t.Errorf("it was followed %d times", a.followed)
				}
			})
		}
	}
}

// TestAnAgentThatSendsMoreThanItMay fills no memory: the stream is cut off.
func TestAnAgentThatSendsMoreThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &teller{size: much}
		a.follow = func(w io.Writer, from, size int64) {
			for range 1000 {
				if _, err := w.Write(make([]byte, wire.Chunk)); err != nil {
					return
				}
			}
		}
		never := &blockedWriter{until: make(chan struct{})}
		time.AfterFunc(time.Hour, func() { close(never.until) })
		err := a.tell(t, never)
		cut, ok := errors.AsType[*agent.CutError](err)
		if !ok || cut.Stdout == nil || !strings.Contains(err.Error(), "more than it may") {
			t.Errorf("Wait: %v", err)
		}
	})
}

// blockedWriter blocks after its first Write, until a channel is closed.
type blockedWriter struct {
	until chan struct{}
	begun bool
}

func (w *blockedWriter) Write(b []byte) (int, error) {
	if w.begun {
		<-w.until
	}
	w.begun = true
	return len(b), nil
}

// TestAnAgentThatLosesCountOfStdin ends the copying.
func TestAnAgentThatLosesCountOfStdin(t *testing.T) {
	for _, accepted := range []int64{-1, 3*wire.Chunk + 1, 1 << 62} {
		synctest.Test(t, func(t *testing.T) {
			a := &teller{accepted: accepted}
			err := a.run(t, agent.Command{Session: "s", Args: []string{"x"}, Stdin: bytes.NewReader(make([]byte, 2*wire.Chunk))})
			cut, ok := errors.AsType[*agent.CutError](err)
			if !ok || cut.Stdin == nil || !strings.Contains(err.Error(), "lost count") {
				t.Errorf("it says that %d bytes are accepted: %v", accepted, err)
			}
		})
	}
}

// TestAnAnswerThatStopsIsGivenUp: the agent neither sends nor ends it. The stream goes on over another connection.
func TestAnAnswerThatStopsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &teller{size: much}
		var stopped atomic.Bool
		a.follow = func(w io.Writer, from, size int64) {
			if stopped.CompareAndSwap(false, true) {
				<-a.end
			}
		}
		var out bytes.Buffer
		if err := a.tell(t, &out); err != nil || !bytes.Equal(out.Bytes(), at(0, much)) {
			t.Errorf("%d bytes of %d, or other ones, %v", out.Len(), much, err)
		}
	})
}

// TestStreamsThatNobodyReadsHoldUpNoOther: they share a connection, and its windows.
func TestStreamsThatNobodyReadsHoldUpNoOther(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	stop := make(chan struct{})
	var ends []func()
	for range 12 { // three times what the windows hold
		p, err := r.Start(ctx, agent.Command{Session: "s", Args: []string{"yes"}, Stdout: afterwards{stop, new(bool)}})
		if err != nil {
			t.Fatal(err)
		}
		q, err := r.Start(ctx, agent.Command{Session: "s", Args: []string{"sleep", "1000"}, Stdin: noise(1, 1<<40)})
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, func() { p.Kill(ctx); q.Kill(ctx); p.Wait(); q.Wait() })
	}
	want, got := newHashed(), newHashed()
	p, err := r.Start(ctx, agent.Command{Session: "s", Args: []string{"cat"}, Stdin: io.TeeReader(noise(2, 20<<20), want), Stdout: got})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 || want.String() != got.String() {
		t.Errorf("%+v, %v: sent %v, received %v", exit, err, want, got)
	}
	close(stop)
	for _, end := range ends {
		end()
	}
}

// afterwards is a Writer that takes the first bytes at once, and others when a channel is closed.
type afterwards struct {
	stop  chan struct{}
	begun *bool
}

func (w afterwards) Write(b []byte) (int, error) {
	if *w.begun {
		<-w.stop
	}
	*w.begun = true
	return len(b), nil
}

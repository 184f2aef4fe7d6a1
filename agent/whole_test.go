package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
)

// spout is an agent of one command, which has ended and whose output is still to be fetched. After some of its answers
// something happens.
type spout struct {
	mute
	exit   int
	chunks int           // of stdout
	held   bool          // a child holds stderr
	silent bool          // the exit is not told
	refuse string        // the code of the error in place of a chunk
	strike func()        // happens
	at     int           // before the answer of that number, the first is 1
	told   chan struct{} // closed when the client knows the exit

	answers int // protected by mu
}

const spoutChunk = 1000

func (a *spout) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/exit"):
		if a.silent {
			<-r.Context().Done()
			return
		}
		fmt.Fprintf(w, `{"code":%d}`, a.exit)
	case strings.HasSuffix(r.URL.Path, "/stderr"):
		if a.held {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Berth-End", "1")
		w.Header().Set("Content-Length", "0")
	case strings.HasSuffix(r.URL.Path, "/stdin"):
		fmt.Fprint(w, `{"closed":true}`)
	case strings.HasSuffix(r.URL.Path, "/stdout"):
		a.chunk(w, r)
	case strings.HasPrefix(r.URL.Path, "/v1/commands/"):
	default:
		a.mute.ServeHTTP(w, r)
	}
}

func (a *spout) chunk(w http.ResponseWriter, r *http.Request) {
	if !a.silent {
		<-a.told
	}
	a.mu.Lock()
	a.answers++
	n := a.answers
	a.mu.Unlock()
	from, _ := strconv.Atoi(r.FormValue("from"))
	if n == a.at {
		if a.refuse != "" {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, `{"code":%q,"message":"it is not here"}`, a.refuse)
			return
		}
		a.strike()
		if r.Context().Err() != nil {
			return
		}
	}
	left := a.chunks*spoutChunk - from
	if left <= spoutChunk {
		w.Header().Set("Berth-End", "1")
	}
	b := bytes.Repeat([]byte("x"), min(left, spoutChunk))
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b)
}

// run runs the command of a spout, and returns its output and what Wait says.
func (a *spout) run(t *testing.T, adjust func(*agent.Client, *agent.Command)) (out string, exit agent.Exit, err error) {
	t.Helper()
	a.conns, a.end, a.killed, a.told = make(chan net.Conn), make(chan struct{}), make(chan string, 1), make(chan struct{})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: protocols, Handler: a}
	var served sync.WaitGroup
	served.Go(func() { server.Serve(&a.mute) })
	client := agent.NewClient(func(ctx context.Context) (net.Conn, error) {
		conn, err := a.dial(ctx)
		if err != nil {
			err = fmt.Errorf("%w: %w", agent.ErrGone, err)
		}
		return conn, err
	}, agent.ClientOptions{})
	var stdout, stderr guarded
	c := agent.Command{
		Session: "s", Args: []string{"x"}, Stdout: &stdout, Stderr: &stderr,
		Ended: func(agent.Exit, error) { close(a.told) },
	}
	adjust(client, &c)
	p, err := client.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	exit, err = p.Wait()
	out = stdout.String()
	client.Close()
	close(a.end)
	server.Close()
	served.Wait()
	time.Sleep(10 * time.Second) // until the handlers have ended
	return out, exit, err
}

// guarded is a buffer that may be read while somebody writes: Wait does not wait for a Write when the client has ended.
type guarded struct {
	mu  sync.Mutex // protects buf
	buf bytes.Buffer
}

func (g *guarded) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.Write(b)
}

func (g *guarded) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.String()
}

// TestOutputIsWholeOrAnError ends the client, in two ways, before each answer of a command that has ended. Also a
// connection that is made again is cut there: then nothing is lost.
func TestOutputIsWholeOrAnError(t *testing.T) {
	const chunks = 7
	for _, code := range []int{0, 3} {
		for at := 1; at <= chunks; at++ {
			for _, held := range []bool{false, true} {
				name := fmt.Sprintf("exit %d, before answer %d, a child holds stderr: %t", code, at, held)
				synctest.Test(t, func(t *testing.T) {
					a := &spout{exit: code, chunks: chunks, held: held, at: at}
					a.strike = func() { a.cut(true) }
					out, exit, err := a.run(t, func(*agent.Client, *agent.Command) {})
					wantCutBy(t, name+", gone", out, exit, code, err, agent.ErrGone, chunks, held)
				})
				synctest.Test(t, func(t *testing.T) {
					a := &spout{exit: code, chunks: chunks, held: held, at: at}
					out, exit, err := a.run(t, func(c *agent.Client, _ *agent.Command) {
						a.strike = func() {
							go c.Close()
							synctest.Wait()
							time.Sleep(2 * time.Second) // as long as Close lets requests finish
						}
					})
					wantCutBy(t, name+", closed", out, exit, code, err, agent.ErrClosed, chunks, held)
				})
			}
			synctest.Test(t, func(t *testing.T) {
				a := &spout{exit: code, chunks: chunks, at: at}
				a.strike = func() { a.cut(false) }
				out, exit, err := a.run(t, func(*agent.Client, *agent.Command) {})
				if err != nil || exit.Code != code || len(out) != chunks*spoutChunk {
					t.Errorf("exit %d, answer %d cut: %d bytes, %+v, %v", code, at, len(out), exit, err)
				}
			})
		}
	}
}

func wantCutBy(t *testing.T, name, out string, exit agent.Exit, code int, err, cause error, chunks int, held bool) {
	t.Helper()
	cut, ok := errors.AsType[*agent.CutError](err)
	if !ok || !errors.Is(err, cause) || exit.Code != code || cut.Stdout == nil || held && cut.Stderr == nil {
		t.Errorf("%s: %d bytes of %d, %+v, %v", name, len(out), chunks*spoutChunk, exit, err)
	}
}

// TestOutputThatTheAgentHasLost: it has forgotten the command, or some of its output.
func TestOutputThatTheAgentHasLost(t *testing.T) {
	for _, code := range []string{"unknown_command", "cut", "invalid", "a code of a later agent"} {
		synctest.Test(t, func(t *testing.T) {
			a := &spout{chunks: 5, at: 3, refuse: code}
			out, exit, err := a.run(t, func(*agent.Client, *agent.Command) {})
			cut, ok := errors.AsType[*agent.CutError](err)
			if !ok || cut.Stdout == nil || cut.Stderr != nil || exit != (agent.Exit{}) || len(out) != 2*spoutChunk {
				t.Errorf("%s: %d bytes, %+v, %v", code, len(out), exit, err)
			}
		})
	}
}

// TestInputOfAProgramThatHasEnded: what it did not read is no concern, also when the client ends; what WaitDelay does not
// wait for is, as in os/exec.
func TestInputOfAProgramThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(blockedReader)
		defer close(never)
		a := &spout{chunks: 1}
		_, exit, err := a.run(t, func(c *agent.Client, cmd *agent.Command) {
			cmd.Stdin = never
			time.AfterFunc(time.Minute, func() { c.Close() })
		})
		if err != nil || exit != (agent.Exit{}) {
			t.Errorf("when the client is closed: %+v, %v", exit, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		never := make(blockedReader)
		defer close(never)
		a := &spout{chunks: 1}
		_, _, err := a.run(t, func(_ *agent.Client, cmd *agent.Command) { cmd.Stdin, cmd.WaitDelay = never, time.Second })
		cut, ok := errors.AsType[*agent.CutError](err)
		if !ok || !errors.Is(err, exec.ErrWaitDelay) || cut.Stdout != nil || cut.Stderr != nil {
			t.Errorf("after WaitDelay: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a := &spout{chunks: 1, silent: true}
		_, _, err := a.run(t, func(c *agent.Client, cmd *agent.Command) {
			cmd.Stdin = strings.NewReader("input")
			time.AfterFunc(time.Minute, func() { a.cut(true) })
		})
		if !errors.Is(err, agent.ErrGone) {
			t.Errorf("when the program's end is not known: %v", err)
		}
	})
}

// blockedReader blocks until it is closed.
type blockedReader chan struct{}

func (r blockedReader) Read([]byte) (int, error) { <-r; return 0, errors.New("closed") }

package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

// cutter is a dialer whose connections break.
type cutter struct {
	dial func(context.Context) (net.Conn, error)

	mu    sync.Mutex
	conns map[net.Conn]bool
	dials int
	cut   bool // no connection is made
}

func (c *cutter) Dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	if cut {
		return nil, errors.New("the cable is cut")
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[conn] = true
	c.dials++
	return conn, nil
}

// connections returns how many connections there were.
func (c *cutter) connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dials
}

// Cut breaks the present connections.
func (c *cutter) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
	clear(c.conns)
}

func (c *cutter) set(cut bool) {
	c.mu.Lock()
	c.cut = cut
	c.mu.Unlock()
	if cut {
		c.Cut()
	}
}

// throughCutter makes the client of an agent one whose connections break.
func throughCutter(t *testing.T, r *ready) *cutter {
	c := &cutter{dial: r.agent.Dial, conns: make(map[net.Conn]bool)}
	r.Client = agent.NewClient(c.Dial, agent.ClientOptions{})
	t.Cleanup(func() { r.Client.Close() })
	return c
}

func TestNothingIsLostWhenConnectionsBreakAtRandom(t *testing.T) {
	size, pause := soaking[int64](32<<20, 100<<20), 100*time.Millisecond
	r := start(t)
	r.session(t, "s", 10001)
	c := throughCutter(t, r)
	stop := make(chan struct{})
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(rand.N(2 * pause)):
				c.Cut()
			}
		}
	})
	want, got, errs := newHashed(), newHashed(), new(bytes.Buffer)
	p, err := r.Start(testContext(t), agent.Command{
		Session: "s", Args: []string{"sh", "-c", "cat; echo done >&2; exit 5"},
		Stdin: io.TeeReader(noise(3, size), want), Stdout: got, Stderr: errs,
	})
	if err != nil {
		t.Fatal(err)
	}
	var others sync.WaitGroup
	for i := range 20 {
		others.Go(func() {
			time.Sleep(rand.N(time.Second))
			if out, _ := r.run(t, "s", fmt.Sprint("echo ", i)); out != fmt.Sprintln(i) {
				t.Errorf("%d: %q", i, out)
			}
		})
	}
	exit, err := p.Wait()
	if err != nil || exit.Code != 5 || want.String() != got.String() || errs.String() != "done\n" {
		t.Errorf("%+v, %v, %q: sent %v, received %v", exit, err, errs, want, got)
	}
	others.Wait()
	close(stop)
	cutting.Wait()
	t.Logf("%d connections", c.dials)
	if c.dials < 3 {
		t.Error("hardly any connection broke")
	}
}

func TestCallsGoOnWhileThereIsNoConnection(t *testing.T) {
	r := start(t)
	c := throughCutter(t, r)
	ctx := testContext(t)
	r.session(t, "s", 10001)
	p, err := r.Start(ctx, agent.Command{Session: "s", Args: []string{"sleep", "0.5"}})
	if err != nil {
		t.Fatal(err)
	}
	c.set(true)
	time.AfterFunc(time.Second, func() { c.set(false) })
	brief, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := r.Sessions(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while there is no connection: %v", err)
	}
	if _, err := r.Open(ctx, agent.Session{ID: "t", UID: 10002, Dir: "small", URL: r.url}); err != nil {
		t.Error(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
}

func TestACallerThatGivesUpLeavesNothing(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	for i := range 30 {
		ctx, cancel := context.WithTimeout(testContext(t), rand.N(30*time.Millisecond))
		id, uid := fmt.Sprint("x", i), 10100+i
		_, err := r.Open(ctx, agent.Session{ID: id, UID: uid, Dir: "small", URL: r.url})
		if err == nil {
			r.CloseSession(testContext(t), id, uid)
		}
		if p, err := r.Start(ctx, agent.Command{Session: "s", Args: []string{"sleep", "1000"}}); err == nil {
			if err := p.Kill(testContext(t)); err != nil {
				t.Error(err)
			}
			p.Wait()
		}
		cancel()
	}
	deadline := time.Now().Add(patience)
	for {
		uids, err := r.Sessions(testContext(t))
		out, _ := r.run(t, "s", "pgrep sleep; cut -d: -f1 "+r.agent.Dir+"/etc/passwd")
		places, _ := os.ReadDir(r.agent.Dir + "/sessions")
		if err == nil && len(uids) == 1 && len(places) == 1 && out == "berth-mirror\nberth10001\n" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left: %v, %q, %v", uids, out, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestAnAgentThatStartsAgainIsAnotherOne(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	down := &cutter{dial: r.agent.Dial, conns: make(map[net.Conn]bool)}
	patient := agent.NewClient(func(ctx context.Context) (net.Conn, error) {
		conn, err := down.Dial(ctx)
		if errors.Is(err, agent.ErrGone) {
			err = errors.New("not yet") // as if nobody could tell
		}
		return conn, err
	}, agent.ClientOptions{})
	defer patient.Close()
	if _, err := patient.Sessions(testContext(t)); err != nil {
		t.Fatal(err)
	}
	r.agent.Stop()
	select {
	case <-r.Done():
	case <-time.After(patience):
		t.Fatal("Done is not closed")
	}
	if _, err := p.Wait(); !errors.Is(err, agent.ErrGone) || !errors.Is(r.Err(), agent.ErrGone) {
		t.Errorf("Wait: %v; Err: %v", err, r.Err())
	}
	if _, err := r.Sessions(testContext(t)); !errors.Is(err, agent.ErrGone) {
		t.Errorf("Sessions: %v", err)
	}
	r.agent.Restart()
	if _, err := patient.Sessions(testContext(t)); !errors.Is(err, agent.ErrGone) {
		t.Errorf("after a restart: %v", err)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sleep", "1000"}, Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { r.Close() })
	if _, err := p.Wait(); !errors.Is(err, agent.ErrClosed) {
		t.Errorf("Wait: %v", err)
	}
	r.Close()
	if _, err := r.Sessions(testContext(t)); !errors.Is(err, agent.ErrClosed) || !errors.Is(r.Err(), agent.ErrClosed) {
		t.Errorf("Sessions: %v; Err: %v", err, r.Err())
	}
	// The session and its command go on.
	r.Client = r.agent.Client(agent.ClientOptions{})
	if out, _ := r.run(t, "s", "pgrep -c sleep"); out != "1\n" {
		t.Errorf("pgrep says %q", out)
	}
}

func TestStateCountsTheOtherManagers(t *testing.T) {
	r := start(t)
	ctx := testContext(t)
	see := func(c *agent.Client, managers int) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			s, err := c.State(ctx)
			if err == nil && s.Managers == managers && s.Idle < patience {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%+v, %v; want %d managers", s, err, managers)
			}
		}
	}
	observer := r.agent.Client(agent.ClientOptions{Observe: true})
	see(observer, 1)
	see(r.Client, 0)
	second := r.agent.Client(agent.ClientOptions{})
	see(observer, 2)
	see(second, 1)
	second.Close()
	see(observer, 1)
	r.Close()
	see(observer, 0)
}

func TestAnAgentThatNobodyNeedsEnds(t *testing.T) {
	r := start(t, "-orphan-timeout=300ms")
	time.Sleep(time.Second)
	if err := r.Err(); err != nil {
		t.Fatalf("it ended with a manager connected: %v", err)
	}
	r.Close()
	last := agent.NewClient(r.agent.Dial, agent.ClientOptions{Observe: true})
	defer last.Close()
	select {
	case <-last.Done():
	case <-time.After(patience):
		t.Error("it goes on without a manager")
	}
}

package crash_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// entry is what the books say of a session.
type entry struct {
	task    string
	created bool   // acknowledged
	ending  bool   // somebody was about to terminate it, or it ends by itself
	ended   bool   // acknowledged
	uses    int    // acknowledged
	marks   int    // that it has at least
	failure string // of a use, while nobody was known to end it
}

// books hold what all workers have told.
type books struct {
	t *testing.T

	mu       sync.Mutex // protects what follows
	sessions map[string]*entry
	counts   map[op]int
	refusals map[string]int
}

func newBooks(t *testing.T) *books {
	return &books{t: t, sessions: make(map[string]*entry), counts: make(map[op]int), refusals: make(map[string]int)}
}

func (b *books) note(r report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts[r.Op]++
	e := b.sessions[r.Session]
	if e == nil && r.Session != "" {
		e = new(entry)
		b.sessions[r.Session] = e
	}
	switch r.Op {
	case opCreated:
		if e.created && e.task != r.Task {
			b.t.Errorf("session %s was created for %s and for %s", r.Session, e.task, r.Task)
		}
		e.task, e.created = r.Task, true
		e.ending = e.ending || r.Brief
	case opRefused:
		b.refusals[strings.Replace(r.Err, r.Task, "T", 1)]++
	case opUsed:
		e.uses++
		e.marks = max(e.marks, r.Marks, e.uses) // each adds one
	case opUseFailed:
		if !e.ending {
			e.failure = r.Err
		}
	case opEnding:
		e.ending = true
	case opEnded:
		e.ended = true
	}
}

// patience is how long a test waits for what comes within a few seconds on a machine that is not busy.
const patience = 5 * time.Minute

// await waits until something was told so many times.
func (b *books) await(o op, times int) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if b.count(o) >= times {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("after %v, %q was not told %d times: %v", patience, o, times, b.counts)
}

// count returns how many times something was told.
func (b *books) count(o op) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts[o]
}

func (b *books) log() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.Logf("%v", b.counts)
	for why, n := range b.refusals {
		b.t.Logf("%4d x refused: %.300s", n, why)
	}
}

// process is a worker that runs.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	up    chan struct{} // closed when it is up
	done  chan struct{} // closed when it has ended and all it said is noted
	log   *os.File
}

// start starts a worker.
func (b *books) start(o orders) *process {
	b.t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		b.t.Fatal(err)
	}
	p := &process{t: b.t, cmd: exec.Command(cmp.Or(o.program, os.Args[0])), up: make(chan struct{}), done: make(chan struct{})}
	if p.log, err = os.CreateTemp(b.t.TempDir(), "worker"); err != nil {
		b.t.Fatal(err)
	}
	p.cmd.Env = append(os.Environ(), ordersVariable+"="+string(text))
	if o.docker != "" {
		p.cmd.Env = append(p.cmd.Env, "DOCKER_HOST="+o.docker)
	}
	p.cmd.Stderr = p.log
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		b.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var r report
			if json.Unmarshal(lines.Bytes(), &r) != nil {
				continue // the last line of a process that was killed
			}
			if r.Op == opUp {
				close(p.up)
			}
			b.note(r)
		}
		p.cmd.Wait()
	}()
	b.t.Cleanup(func() {
		p.kill()
		if b.t.Failed() {
			text, _ := os.ReadFile(p.log.Name())
			b.t.Logf("worker %d wrote:\n%s", p.cmd.Process.Pid, text[max(0, len(text)-4000):])
		}
		p.log.Close()
	})
	return p
}

func (p *process) signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

// kill ends it at once.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// close lets it close its Provider.
func (p *process) close() {
	p.t.Helper()
	p.stdin.Close()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Error("a worker does not end")
		p.kill()
	}
	if !p.cmd.ProcessState.Success() {
		p.t.Errorf("a worker that was to close: %v", p.cmd.ProcessState)
	}
}

// await waits until it is up.
func (p *process) await() {
	p.t.Helper()
	select {
	case <-p.up:
	case <-p.done:
		p.t.Fatal("a worker ended before it was up")
	case <-time.After(patience):
		p.t.Fatalf("a worker is not up after %v", patience)
	}
}

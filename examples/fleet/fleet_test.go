package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/internal/narrate"
	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/hostboottest"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
)

// fleetTest is a fleet with the tasks of the story.
type fleetTest struct {
	*fleet
	log   *refusals
	tasks []*task
}

// TestFleet tells the story, and injects the faults of an instance while all three are there. Each part continues with the fleet
// of the part before. close reports an error if something is left at the end.
func TestFleet(t *testing.T) {
	t.Parallel()
	testenv.Image(t)
	f := &fleetTest{log: &refusals{by: make(map[string]int)}, tasks: newTasks()}
	var err error
	f.fleet, err = newFleet(t.Context(), narrate.NewPrinter(t.Output()), testenv.PoolName(t), options{logger: slog.New(f.log)})
	skip(t, err)
	defer func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}()
	f.step(t, f.grow)
	f.step(t, f.work)
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"tasks are packed", f.packed},
		{"the host sees that a manager lives", f.touched},
		{"a daemon is killed and started again", f.killed},
		{"an instance vanishes", f.vanished},
		{"another machine has the address", f.replaced},
		{"lost tasks start again", f.again},
	} {
		if !t.Run(part.name, part.run) {
			return
		}
	}
	f.step(t, f.shrink)
}

// TestHungDaemon stops a daemon, so that it hangs. The pool needs most of a minute to find that by its probes, so the test has a
// fleet of its own and runs beside TestFleet.
func TestHungDaemon(t *testing.T) {
	t.Parallel()
	testenv.Image(t)
	f := &fleetTest{log: &refusals{by: make(map[string]int)}, tasks: newTasks()[4:]}
	var err error
	f.fleet, err = newFleet(t.Context(), narrate.NewPrinter(t.Output()), testenv.PoolName(t), options{logger: slog.New(f.log)})
	skip(t, err)
	defer func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}()
	skip(t, f.settle(t.Context(), 1))
	skip(t, f.start(t.Context(), f.tasks))
	victim := f.tasks[0]
	hung := victim.session.Info().Instance.CloudID
	if out, err := f.machine(hung).Run(t.Context(), "kill -STOP $(cat /run/docker.pid)"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.lost(t, victim)
	skip(t, f.start(t.Context(), f.tasks))
	skip(t, f.settle(t.Context(), 1))
	f.alive(t, victim)
	if now := victim.session.Info().Instance.CloudID; now == hung || f.server.Instance(hung).State != ec2test.Terminated {
		t.Errorf("%s has started again on %s; %s was to be replaced, and is %s", victim.name, now, hung, f.server.Instance(hung).State)
	}
}

// TestInterrupted interrupts the story while an instance boots, and checks that nothing is left.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	testenv.Image(t)
	for name, systemd := range map[string]bool{"user data alone": false, "systemd": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testInterrupted(t, options{systemd: systemd})
		})
	}
}

func testInterrupted(t *testing.T, o options) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	f, err := newFleet(ctx, narrate.NewPrinter(t.Output()), testenv.PoolName(t), o)
	skip(t, err)
	defer f.close() // if the test ends early
	eventually(t, 5*time.Minute, "a machine boots", func() bool {
		instances := f.server.Instances()
		return len(instances) > 0 && instances[0].State == ec2test.Running
	})
	interrupt()
	if err := tell(ctx, f); !errors.Is(err, context.Canceled) {
		t.Errorf("the story ended with %v", err)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
	if len(f.byID) != 1 {
		t.Errorf("there were %d machines", len(f.byID))
	}
}

// skip skips the test if this computer can run no machines.
func skip(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, hostboottest.ErrMissing) {
		testenv.Missing(t, "not tested: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// step tells a part of the story.
func (f *fleetTest) step(t *testing.T, part func(context.Context, []*task) error) {
	t.Helper()
	skip(t, part(t.Context(), f.tasks))
}

// packed: tasks on one repository share a container, and tasks on two repositories do not.
func (f *fleetTest) packed(t *testing.T) {
	containers, instances := make(map[string]int), make(map[string]int)
	for _, task := range f.tasks {
		for _, other := range f.tasks {
			a, b := task.session.Info(), other.session.Info()
			if same := a.Container.ID == b.Container.ID; same != (task.repo == other.repo) {
				t.Errorf("%s and %s are in %v and %v", task.name, other.name, a.Container, b.Container)
			}
		}
		containers[task.session.Info().Container.ID]++
		instances[task.session.Info().Instance.ID]++
	}
	if len(containers) != 3 || len(instances) != 3 {
		t.Errorf("the tasks are in the containers %v on %v", containers, instances)
	}
}

// touched: each probe of the provider resets the dead man's switch of the host.
func (f *fleetTest) touched(t *testing.T) {
	m := f.machineOf(f.tasks[0])
	out, err := m.Run(t.Context(), "systemctl start berth-dead-man.service && cat /run/berth/touched")
	if err != nil || strings.TrimSpace(out) == "" || strings.Contains(strings.Join(m.Calls(), "\n"), "poweroff") {
		t.Errorf("the dead man's switch: %v: %s; the calls are %v", err, out, m.Calls())
	}
}

// killed: no session ends when a daemon is killed and restarted, and commands go on with their output.
func (f *fleetTest) killed(t *testing.T) {
	victim := f.tasks[0]
	m := f.machineOf(victim)
	cmd := victim.session.Command(t.Context(), "sh", "-c", "echo one; sleep 1; echo meanwhile; read line; echo $line; exit 3")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	first := &firstWord{come: make(chan struct{})}
	cmd.Stdout = first
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-first.come
	// The second half is systemd's part: Restart=always.
	if out, err := m.Run(t.Context(), `pid=$(cat /run/docker.pid) && kill -9 "$pid" && while [ -e "/proc/$pid" ]; do sleep 0.05; done
sleep 2; systemctl start docker.service`); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := stdin.Write([]byte("two\n")); err != nil {
		t.Error(err)
	}
	stdin.Close()
	err = cmd.Wait()
	if exit, ok := errors.AsType[*berth.ExitError](err); !ok || exit.ExitCode() != 3 || first.text() != "one\nmeanwhile\ntwo\n" {
		t.Errorf("the command ended with %v, and printed %q", err, first.text())
	}
	f.alive(t, f.tasks...)
}

// vanished: when an instance ends by itself, its sessions end, and no others do.
func (f *fleetTest) vanished(t *testing.T) {
	lost, id := f.tasks[2:4], f.tasks[2].session.Info().Instance.CloudID
	running := lost[0].session.Command(t.Context(), "sleep", "1000")
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	f.stop(t, id)
	f.server.Kill(id, "Server.InternalError")
	f.lost(t, lost...)
	if err := running.Wait(); !errors.Is(err, berth.ErrInstanceLost) {
		t.Errorf("a command that ran: %v", err)
	}
	f.alive(t, f.tasks[0], f.tasks[1], f.tasks[4])
}

// replaced: another machine answers at the address of an instance. This is the hardest case: the machine belongs to another launch
// of the same pool.
func (f *fleetTest) replaced(t *testing.T) {
	victim := f.tasks[4].session.Info().Instance
	other := f.tasks[0].session.Info().Instance
	address := f.server.Instance(victim.CloudID).PrivateIP
	f.stop(t, victim.CloudID)
	stranger, err := start(t.Context(), address, f.server.Instance(other.CloudID).UserData)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stranger.Stop(); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, 5*time.Minute, "a probe has refused the stranger", func() bool { return f.log.of(victim.ID) > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if out, err := f.tasks[4].session.Command(ctx, "true").CombinedOutput(); err == nil {
		t.Errorf("the stranger has run a command: %s", out)
	}
	if out, err := stranger.Run(t.Context(), "docker ps --all --quiet; docker volume ls --quiet"); err != nil || out != "" {
		t.Errorf("the stranger was made use of: %v: %s", err, out)
	}
	f.server.Kill(victim.CloudID, "Server.InternalError")
	f.lost(t, f.tasks[4])
	f.alive(t, f.tasks[:2]...)
}

// again: the same request gets a session on a new instance.
func (f *fleetTest) again(t *testing.T) { f.restart(t, f.tasks[2:]...) }

// restart starts lost tasks again, and waits until the fleet is whole.
func (f *fleetTest) restart(t *testing.T, tasks ...*task) {
	skip(t, f.start(t.Context(), tasks))
	skip(t, f.settle(t.Context(), maxInstances))
	f.alive(t, f.tasks...)
}

// machineOf returns the machine that a task is on.
func (f *fleetTest) machineOf(task *task) *hostboottest.Machine {
	return f.machine(task.session.Info().Instance.CloudID)
}

// stop cuts the power of a machine. EC2 does not learn of it.
func (f *fleetTest) stop(t *testing.T, id string) {
	t.Helper()
	if err := f.machine(id).Stop(); err != nil {
		t.Error(err)
	}
}

// alive checks that sessions have not ended and run commands.
func (f *fleetTest) alive(t *testing.T, tasks ...*task) {
	t.Helper()
	for _, task := range tasks {
		select {
		case <-task.session.Done():
			t.Errorf("%s has ended: %v", task.name, task.session.Err())
			continue
		default:
		}
		if out, err := task.session.Command(t.Context(), "git", "status").CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", task.name, err, out)
		}
	}
}

// lost waits until sessions have ended because their instance was lost.
func (f *fleetTest) lost(t *testing.T, tasks ...*task) {
	t.Helper()
	for _, task := range tasks {
		select {
		case <-task.session.Done():
		case <-time.After(5 * time.Minute):
			t.Fatalf("%s does not end", task.name)
		}
		if err := task.session.Err(); !errors.Is(err, berth.ErrInstanceLost) {
			t.Errorf("%s ended with %v, want ErrInstanceLost", task.name, err)
		}
	}
}

func eventually(t *testing.T, within time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s it does not hold that %s", within, what)
		}
	}
}

// firstWord keeps the output of a command, and reports when it begins.
type firstWord struct {
	come chan struct{} // closed by the first Write
	once sync.Once

	mu  sync.Mutex // protects buf
	buf bytes.Buffer
}

func (w *firstWord) Write(b []byte) (int, error) {
	defer w.once.Do(func() { close(w.come) })
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

func (w *firstWord) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// refusals is a log handler that counts, by launch, how often a probe met another machine.
type refusals struct {
	mu sync.Mutex // protects by
	by map[string]int
}

// Enabled is part of slog.Handler.
func (*refusals) Enabled(context.Context, slog.Level) bool { return true }

// Handle is part of slog.Handler.
func (r *refusals) Handle(_ context.Context, record slog.Record) error {
	instance, wrong := "", false
	record.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && errors.Is(err, orchestrator.ErrWrongHost) {
			wrong = true
		}
		if a.Key == "instance" {
			instance = a.Value.String()
		}
		return true
	})
	if wrong {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.by[instance]++
	}
	return nil
}

// WithAttrs is part of slog.Handler.
func (r *refusals) WithAttrs([]slog.Attr) slog.Handler { return r }

// WithGroup is part of slog.Handler.
func (r *refusals) WithGroup(string) slog.Handler { return r }

func (r *refusals) of(instance string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by[instance]
}

package local_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// TestLocalRandom creates and terminates sessions at random, from 50 goroutines over 20 repositories, on the real
// engine. Meanwhile it checks the invariants. One session keeps its container until the end, so that the test can look
// for leftovers of the others in it. The test fails if something is left at the end: see local.New.
func TestLocalRandom(t *testing.T) {
	const (
		callers      = 50
		repositories = 20
		slots        = 60
	)
	total := int64(150)
	if testenv.Soak() {
		total = 1000
	}
	l := local.New(t, berth.Config{MaxTasksPerInstance: slots})
	urls := make([]string, repositories)
	for i := range urls {
		urls[i] = l.Git.Create(fmt.Sprintf("org/r%d", i), gittest.Files(map[string]string{"README": fmt.Sprintln(i)})).URL()
	}
	ctx := t.Context()
	holder := l.Create("holder", urls[0], "")
	stop := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { watchRules(l, stop, slots) })

	var done, failed atomic.Int64
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(caller)))
			for n := 0; done.Add(1) <= total && !t.Failed(); n++ {
				repo := random.IntN(repositories)
				if random.IntN(4) == 0 {
					repo = 0 // the holder's
				}
				if err := oneTask(ctx, l, random, fmt.Sprintf("t%d-%d", caller, n), urls[repo], fmt.Sprint(repo)); err != nil {
					failed.Add(1)
					t.Errorf("caller %d, task %d: %v", caller, n, err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	watcher.Wait()
	checkAlone(l, holder)
	if err := l.TerminateSession(ctx, holder.ID()); err != nil {
		t.Error(err)
	}
	l.WaitGone(t)
	for in := range l.Instances(ctx) {
		if in.Tasks != 0 {
			t.Errorf("%d slots are held at the end", in.Tasks)
		}
	}
	t.Logf("%d tasks: %+v", total, l.Stats())
}

// oneTask runs one session from its creation to its end. At random, the caller gives up early, runs no command, or
// terminates twice.
func oneTask(ctx context.Context, l *local.Pool, random *rand.Rand, task, url, content string) error {
	createCtx := ctx
	impatient := random.IntN(10) == 0
	if impatient {
		var cancel context.CancelFunc
		createCtx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(1500))*time.Millisecond)
		defer cancel()
	}
	s, err := l.CreateSession(createCtx, berth.SessionRequest{
		TaskID: task, UserID: fmt.Sprintf("user%d", random.IntN(5)), Repository: url,
	})
	if err != nil {
		if impatient && errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return err
	}
	defer func() {
		for range 1 + random.IntN(2) { // once, or once more than needed
			if err := l.TerminateSession(ctx, s.ID()); err != nil {
				l.T.Errorf("terminate %s: %v", task, err)
			}
		}
	}()
	if random.IntN(3) > 0 {
		out, err := s.Command(ctx, "sh", "-c", `cat README; stat -c %u .; id -u; ls /sessions 2>&1 | wc -l
			touch /tmp/of-$(id -u); nohup sleep 1000 >/dev/null 2>&1 &`).CombinedOutput() // both are left to the session's end
		if err != nil {
			return fmt.Errorf("command: %w\n%s", err, out)
		}
		lines := strings.Fields(string(out))
		if len(lines) != 4 || lines[3] != "1" /* the refusal to list them */ || lines[0] != content || lines[1] != lines[2] {
			return fmt.Errorf("the checkout is not its own: %q", lines)
		}
	}
	return nil
}

// watchRules checks the invariants until it is stopped: at most one container per sharing key can be joined, each
// active session has a running container, and there are never more sessions than slots.
func watchRules(l *local.Pool, stop <-chan struct{}, slots int) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
		joinable := make(map[string]int)
		for r, err := range l.Repositories(l.T.Context()) {
			if err != nil {
				l.T.Error(err)
				return
			}
			if r.State == "starting" || r.State == "ready" {
				joinable[r.Repository.String()]++
			}
		}
		for repo, n := range joinable {
			if n > 1 {
				l.T.Errorf("%s has %d joinable containers", repo, n)
			}
		}
		tasks := 0
		for in := range l.Instances(l.T.Context()) {
			tasks += in.Tasks
		}
		if tasks > slots {
			l.T.Errorf("%d sessions on %d slots", tasks, slots)
		}
		checkActive(l)
	}
}

// checkActive lists the engine's containers. It checks that each session that is active before and after has its
// container in the list.
func checkActive(l *local.Pool) {
	active := make(map[string]*berth.Session)
	for s, err := range l.ListSessions(l.T.Context(), berth.SessionFilter{States: []berth.SessionState{berth.SessionActive}}) {
		if err == nil {
			active[s.ID()] = s
		}
	}
	running := l.Running()
	for id, s := range active {
		info, err := s.Refresh(l.T.Context())
		if err == nil && info.State == berth.SessionActive && running[info.Container.Name] != info.Container.ID {
			l.T.Errorf("session %s is active, and its container %s does not run", id, info.Container.Name)
		}
	}
}

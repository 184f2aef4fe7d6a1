package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/internal/narrate"
	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/internal/test/testenv"
)

// asProgram makes the test binary behave as the program.
const asProgram = "REPLICAS_AS_PROGRAM"

func TestMain(m *testing.M) {
	if fromEnvironment().pool != "" || os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	pgtest.Main(m)
}

// database returns the URL of an empty database.
func database(t *testing.T) string {
	t.Helper()
	server := pgtest.Shared(t)
	return server.DSN(server.Database(t))
}

// schemas returns the schemas of a database that are not PostgreSQL's own.
func schemas(t *testing.T, database string) (names []string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|public$)'")
	if err == nil {
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// processes returns the running replicas of a pool, which it knows by their environments.
func processes(t *testing.T, pool string) (pids []string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Fatalf("cannot look for processes on %s", runtime.GOOS) // pgtest runs on Linux only
	}
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range environments {
		environment, err := os.ReadFile(path)
		if err == nil && slices.Contains(strings.Split(string(environment), "\x00"), poolVariable+"="+pool) {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

func TestStory(t *testing.T) {
	testenv.Image(t)
	t.Parallel()
	cfg := config{pool: testenv.PoolName(t), database: database(t)}
	s, err := run(t.Context(), narrate.NewPrinter(t.Output()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	shop := s.before["fix-login"].Container
	for _, id := range []string{"fix-login", "add-tests", "polish"} {
		before, after := s.before[id], s.after[id]
		if before.Container != shop || before.State != berth.SessionActive || after != before {
			t.Errorf("%s was %+v before the kill, and %+v after it", id, before, after)
		}
	}
	if s.before["polish"].Start != berth.StartAttached {
		t.Errorf("B's task did not join the container that A had started: %+v", s.before["polish"])
	}
	if s.written[0] < 5 || s.written[1] <= s.written[0] {
		t.Errorf("the checkout had %d lines after the kill, and %d later", s.written[0], s.written[1])
	}
	if s.anew.State != berth.SessionActive || s.anew.Session == s.cut.Session || s.anew.Container == shop {
		t.Errorf("the task that was cut off as %+v was created again as %+v", s.cut, s.anew)
	}
	if s.waited <= 0 || s.waited > 3*time.Minute {
		t.Errorf("it was created again %v after the kill", s.waited)
	}
	if s.twins[0].Session == "" || s.twins[0] != s.twins[1] {
		t.Errorf("two replicas created one task as %+v and %+v", s.twins[0], s.twins[1])
	}
	if s.processes[0] == 0 || s.processes[1] != 0 {
		t.Errorf("A's task had %d processes, and %d after its end", s.processes[0], s.processes[1])
	}
	if len(s.planners[0]) != 1 || len(s.planners[1]) != 1 || s.planners[1][0] == "A" {
		t.Errorf("first %v planned, and after the kill %v", s.planners[0], s.planners[1])
	}
	if left := schemas(t, cfg.database); len(left) > 0 {
		t.Errorf("the database still has the schemas %v", left)
	}
	if left := processes(t, cfg.pool); len(left) > 0 {
		t.Errorf("replicas still run: %v", left)
	}
}

// TestReplicaThatIsToldToEnd: the runs of a replica go on after it has ended.
func TestReplicaThatIsToldToEnd(t *testing.T) {
	testenv.Image(t)
	t.Parallel()
	st, err := newStage(t.Context(), narrate.NewPrinter(t.Output()), config{pool: testenv.PoolName(t), database: database(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	}()
	s := &story{stage: st}
	if _, err := s.create(t.Context(), st.a, s.fixLogin()); err != nil {
		t.Fatal(err)
	}
	long, err := st.a.start(t.Context(), "fix-login", longRun)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.a.end(); err != nil {
		t.Error(err)
	}
	var lines [2]int
	for i := range lines {
		l, err := st.b.await(t.Context(), long, func(l look) bool { return l.state != "running" || l.lines() > lines[0] })
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = l.lines()
	}
	if lines[1] <= lines[0] {
		t.Errorf("the run had printed %d lines, and %d later", lines[0], lines[1])
	}
}

// TestInterrupted interrupts the program, and checks that nothing is left.
func TestInterrupted(t *testing.T) {
	testenv.Image(t)
	t.Parallel()
	for _, when := range []string{"replica C is", "fix-login has started", "A is dead"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			url := database(t)
			cmd := exec.Command(os.Args[0], "-database", url)
			cmd.Env = append(os.Environ(), asProgram+"=1")
			said, ended := make(chan struct{}), make(chan error, 1)
			saidOnce := sync.OnceFunc(func() { close(said) })
			cmd.Stdout = &lines{say: func(line string) {
				t.Log(line)
				if strings.Contains(line, when) {
					saidOnce()
				}
			}}
			cmd.Stderr = cmd.Stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			go func() { ended <- cmd.Wait() }()
			select {
			case <-said:
			case err := <-ended:
				t.Fatalf("the program has not said %q: %v", when, err)
			}
			pool := strings.ReplaceAll(strings.Join(schemas(t, url), " "), "_", "-")
			if len(processes(t, pool)) == 0 {
				t.Error("no replica runs")
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
			if err := <-ended; cmd.ProcessState.ExitCode() != 130 {
				t.Errorf("the program ended with %v", err)
			}
			if !strings.HasPrefix(pool, "replicas-") {
				t.Fatalf("the database had the schema of pool %q", pool)
			}
			if left := schemas(t, url); len(left) > 0 {
				t.Errorf("the database still has the schemas %v", left)
			}
			if left := processes(t, pool); len(left) > 0 {
				t.Errorf("replicas still run: %v", left)
			}
			st := &stage{config: config{pool: pool}, docker: testenv.Docker(t)}
			if left, err := st.left(t.Context()); err != nil || len(left) > 0 {
				t.Errorf("the engine still has %v: %v", left, err)
			}
		})
	}
}

func TestWithoutADatabase(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asProgram+"=1", "DATABASE_URL=")
	said, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(said), "docker run") || !strings.Contains(string(said), "initdb") {
		t.Errorf("it ended with %v, and said %s", err, said)
	}
}

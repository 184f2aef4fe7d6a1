package berth_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/store"
)

// retryable has every sentinel that the API can return. want says whether the same call may succeed later.
var retryable = map[string]struct {
	err  error
	want bool
}{
	"berth.ErrSessionNotFound": {berth.ErrSessionNotFound, false},
	"berth.ErrSessionStarting": {berth.ErrSessionStarting, true},
	"berth.ErrTaskConflict":    {berth.ErrTaskConflict, false},
	"berth.ErrNoCapacity":      {berth.ErrNoCapacity, true},
	"berth.ErrAccessDenied":    {berth.ErrAccessDenied, false},
	"berth.ErrInvalid":         {berth.ErrInvalid, false},
	"berth.ErrInstanceLost":    {berth.ErrInstanceLost, true},
	"berth.ErrContainerLost":   {berth.ErrContainerLost, true},
	"berth.ErrOutOfMemory":     {berth.ErrOutOfMemory, false},
	"berth.ErrOutputCut":       {berth.ErrOutputCut, false}, // by itself: a command may not be repeatable
	"berth.ErrOverLimit":       {berth.ErrOverLimit, false},
	"berth.ErrExpired":         {berth.ErrExpired, false},
	"berth.ErrUnsaved":         {berth.ErrUnsaved, false},
	"berth.ErrTerminated":      {berth.ErrTerminated, false},
	"berth.ErrQuota":           {berth.ErrQuota, true},
	"berth.ErrRevoked":         {berth.ErrRevoked, false},
	"berth.ErrAbandoned":       {berth.ErrAbandoned, true},
	"berth.ErrSuspended":       {berth.ErrSuspended, true},
	"berth.ErrNoPlanner":       {berth.ErrNoPlanner, true},
	"berth.ErrUnavailable":     {berth.ErrUnavailable, true},
	"berth.ErrDestroying":      {berth.ErrDestroying, false},
	"berth.ErrClosed":          {berth.ErrClosed, false},

	"agent.ErrGone":           {agent.ErrGone, true},
	"agent.ErrOverLimit":      {agent.ErrOverLimit, false},      // the API replaces it
	"agent.ErrUnknownSession": {agent.ErrUnknownSession, false}, // the API replaces it
	"agent.ErrBranchNotFound": {agent.ErrBranchNotFound, false},
	"agent.ErrAddressRefused": {agent.ErrAddressRefused, false},
	"agent.ErrNotExecutable":  {agent.ErrNotExecutable, false},
	"agent.ErrUnknownCommand": {agent.ErrUnknownCommand, false},
	"agent.ErrNotPromoted":    {agent.ErrNotPromoted, false},
	"agent.ErrNoLayer":        {agent.ErrNoLayer, false},
	"agent.ErrProofRequired":  {agent.ErrProofRequired, false},
	"agent.ErrNothingKept":    {agent.ErrNothingKept, false},
	"agent.ErrIncompatible":   {agent.ErrIncompatible, false},
	"agent.ErrOutOfMemory":    {agent.ErrOutOfMemory, false}, // comes with ErrGone, which decides
	"agent.ErrClosed":         {agent.ErrClosed, false},      // the API replaces it

	"orchestrator.ErrWrongHost":       {orchestrator.ErrWrongHost, false},
	"orchestrator.ErrNameTaken":       {orchestrator.ErrNameTaken, false},
	"orchestrator.ErrInUse":           {orchestrator.ErrInUse, false}, // by itself; a start of a container that failed with it may be repeated
	"orchestrator.ErrImage":           {orchestrator.ErrImage, false},
	"orchestrator.ErrRuntime":         {orchestrator.ErrRuntime, false},
	"orchestrator.ErrNoIsolation":     {orchestrator.ErrNoIsolation, false},
	"orchestrator.ErrUnreachable":     {orchestrator.ErrUnreachable, true}, // the API returns ErrUnavailable for it
	"orchestrator.ErrNoSnapshot":      {orchestrator.ErrNoSnapshot, false},
	"orchestrator.ErrSnapshotCorrupt": {orchestrator.ErrSnapshotCorrupt, false},
	"orchestrator.ErrSnapshotName":    {orchestrator.ErrSnapshotName, false},

	"store.ErrNotFound":       {store.ErrNotFound, false},
	"store.ErrUnknownOutcome": {store.ErrUnknownOutcome, true},
	"store.ErrFenced":         {store.ErrFenced, false}, // the API repeats the call itself
	"store.ErrClosed":         {store.ErrClosed, false},
	"store.ErrNoUID":          {store.ErrNoUID, false},
}

// TestRetryableKnowsEverySentinel: a new sentinel must be added to the table.
func TestRetryableKnowsEverySentinel(t *testing.T) {
	found := make(map[string]bool)
	for name, dir := range map[string]string{"berth": ".", "agent": "agent", "orchestrator": "orchestrator", "store": "store"} {
		for _, sentinel := range sentinels(t, dir) {
			found[name+"."+sentinel] = true
		}
	}
	for name := range found {
		if _, known := retryable[name]; !known {
			t.Errorf("%s is not in the table", name)
		}
	}
	for name, row := range retryable {
		if !found[name] {
			t.Errorf("%s is in the table, and not in the source", name)
		}
		for _, err := range []error{row.err, fmt.Errorf("task %q: %w", "t", row.err)} {
			if got := berth.Retryable(err); got != row.want {
				t.Errorf("Retryable(%v) is %t", err, got)
			}
		}
	}
}

// sentinels returns the names of the exported variables of a package that begin with Err.
func sentinels(t *testing.T, dir string) (names []string) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.DeleteFunc(paths, func(path string) bool { return strings.HasSuffix(path, "_test.go") }) {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			d, ok := d.(*ast.GenDecl)
			if !ok || d.Tok != token.VAR {
				continue
			}
			for _, spec := range d.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

func TestRetryableOfWhatIsNoSentinel(t *testing.T) {
	start := func(phase string, err error) error { return &berth.StartError{Phase: phase, Err: err} }
	git := func(message string) error { return &agent.GitError{Op: "fetch", Message: message} }
	for _, row := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("a word"), false},
		{context.Canceled, false},
		{context.DeadlineExceeded, false},
		{&berth.FieldError{Field: "x"}, false},
		{&berth.ExitError{Code: 1}, false},
		{fmt.Errorf("%w: %w", berth.ErrNoCapacity, context.DeadlineExceeded), true},
		{fmt.Errorf("%w: %w", berth.ErrNoCapacity, context.Canceled), false},
		{fmt.Errorf("%w: %w", berth.ErrNoCapacity, berth.ErrClosed), false},
		{fmt.Errorf("%w: %w", store.ErrUnknownOutcome, context.DeadlineExceeded), true},
		{start("starting", errors.New("the daemon is restarting")), true},
		{start("starting", orchestrator.ErrInUse), true},
		{start("starting", fmt.Errorf("pull: %w", orchestrator.ErrImage)), false},
		{start("starting", context.DeadlineExceeded), false},
		{start("checkout", agent.ErrBranchNotFound), false},
		{start("fetching", git("fatal: Authentication failed for 'https://git.example/'")), false},
		{start("fetching", git("fatal: repository 'https://git.example/' not found")), false},
		{start("fetching", git("error: RPC failed; HTTP 503 curl 22 The requested URL returned error: 503")), true},
		{start("fetching", git("The requested URL returned error: 403")), false},
		{start("fetching", git("fatal: Could not resolve host: git.example")), true},
		{start("fetching", git("fatal: read error: Connection reset by peer")), true},
		{start("fetching", git("the remote takes no connection: no answer for 30s")), true},
		{fmt.Errorf("New: %w", &ec2cloud.PreflightError{Problems: []error{errors.New("a wrong setting")}}), false},
	} {
		if got := berth.Retryable(row.err); got != row.want {
			t.Errorf("Retryable(%v) is %t", row.err, got)
		}
	}
}

// TestWhyASessionEndedIsTheSameEverywhere compares the error of CreateSession with Err of its session, in the same
// process and in another one that reads the session from the store.
func TestWhyASessionEndedIsTheSameEverywhere(t *testing.T) {
	url := "https://git.example/org/private"
	engine := fake.EngineOptions{Repositories: map[string]fake.Repo{url: {Password: "right"}}}
	for _, row := range []struct {
		name string
		make func(w *world.World)
		req  berth.SessionRequest
		want []error
		git  bool // it is an *agent.GitError
	}{
		{"no capacity", func(w *world.World) { w.Cloud.SetCapacity(0) }, world.Request("t", world.RepoA), []error{berth.ErrNoCapacity}, false},
		{"quota", func(w *world.World) { w.Cloud.FailLaunches(1e6, pool.ErrQuota) }, world.Request("t", world.RepoA), []error{berth.ErrNoCapacity}, false},
		{"branch", func(w *world.World) {}, berth.SessionRequest{TaskID: "t", UserID: world.User, Repository: world.RepoA, Branch: "nowhere"},
			[]error{agent.ErrBranchNotFound}, false},
		{"password", func(w *world.World) {}, world.Request("t", "https://x:wrong@git.example/org/private"),
			[]error{berth.ErrAccessDenied}, true},
		{"address", func(w *world.World) {}, world.Request("t", "http://10.0.0.5/org/private"), []error{agent.ErrAddressRefused}, false},
		{"image", func(w *world.World) { w.Engine.Fail(fake.Ensure, 1e6, fmt.Errorf("x: %w", orchestrator.ErrImage)) }, world.Request("t", world.RepoA),
			[]error{orchestrator.ErrImage}, false},
		{"engine", func(w *world.World) { w.Engine.Fail(fake.Ensure, 1e6, errors.New("x")) }, world.Request("t", world.RepoA), nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			world.Run(t, world.Setup{Engine: engine, Config: berth.Config{QueueTimeout: time.Minute}}, func(t *testing.T, w *world.World) {
				row.make(w)
				other := w.NewProvider()
				c := world.Creating(t.Context(), w.Provider, row.req)
				var local *berth.Session
				for range 1000 {
					time.Sleep(time.Millisecond)
					if local, _ = w.SessionByTask(t.Context(), "t"); local != nil {
						break
					}
				}
				if local == nil {
					t.Fatal("the session is not found by its task")
				}
				err := (<-c).Err
				world.After(10 * time.Second)
				far := world.Get(t, other, local.ID())
				for where, err := range map[string]error{"CreateSession": err, "here": local.Err(), "elsewhere": far.Err()} {
					failed, isGit := errors.AsType[*agent.GitError](err)
					if isGit != row.git || isGit && failed.Op == "" {
						t.Errorf("%s: an *agent.GitError is %t: %v", where, isGit, err)
					}
					for _, want := range row.want {
						if !errors.Is(err, want) {
							t.Errorf("%s: %v is not %v", where, err, want)
						}
					}
					if got, want := berth.Retryable(err), row.name == "no capacity" || row.name == "quota" || row.name == "engine"; got != want {
						t.Errorf("%s: Retryable(%v) is %t", where, err, got)
					}
				}
			})
		})
	}
}

func TestSessionByTask(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		none := func(task string) {
			t.Helper()
			if s, err := other.SessionByTask(t.Context(), task); !errors.Is(err, berth.ErrSessionNotFound) {
				t.Errorf("%q: %v, %v", task, s, err)
			}
		}
		none("t")
		none("")
		none("\x00")
		w.Engine.Next(fake.Open, 1, fake.Fault{Delay: 9 * time.Minute})
		c := world.Creating(t.Context(), w.Provider, world.Request("t", world.RepoA))
		world.After(5 * time.Minute)
		starting, err := other.SessionByTask(t.Context(), "t")
		if err != nil || starting.Info().State != berth.SessionCreating {
			t.Fatalf("while it is created: %v, %v", starting, err)
		}
		for what, err := range map[string]error{
			"Command": starting.Command(t.Context(), "true").Run(), "KeepAlive": starting.KeepAlive(t.Context()),
		} {
			if !errors.Is(err, berth.ErrSessionStarting) || !berth.Retryable(err) {
				t.Errorf("%s of a session that is being created: %v", what, err)
			}
		}
		made := <-c
		s, err := other.SessionByTask(t.Context(), "t")
		if err != nil || made.Err != nil || s.ID() != made.Session.ID() || s.Info().Instance.Address == "" {
			t.Fatalf("%v, %v, %v", s, err, made.Err)
		}
		w.Terminate(made.Session)
		none("t")
	})
}

// TestABoundOfOursIsNotTheEndOfTheCallersContext: a time-out of the library is no context.DeadlineExceeded, so that a
// host can tell whether its user gave up.
func TestABoundOfOursIsNotTheEndOfTheCallersContext(t *testing.T) {
	for _, verb := range []fake.Verb{fake.Ensure, fake.Fetch, fake.Open} {
		t.Run(string(verb), func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				w.Engine.Hang(verb)
				_, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA))
				if err == nil || errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, berth.ErrUnavailable) {
					t.Errorf("%v", err)
				}
				w.Engine.Heal()
			})
		})
	}
}

// TestStoreThatFailsIsErrUnavailable: any error of the store is an ErrUnavailable. The end of the caller's context is
// not.
func TestStoreThatFailsIsErrUnavailable(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		cut, reach := w.NewCutProvider()
		s := world.Create(t, cut, world.Request("t", world.RepoA))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := cut.GetSession(ended, s.ID()); errors.Is(err, berth.ErrUnavailable) {
			t.Errorf("with a context that has ended: %v", err)
		}
		reach.Cut.Store(true)
		_, get := cut.GetSession(t.Context(), s.ID())
		_, byTask := cut.SessionByTask(t.Context(), "t")
		_, create := cut.CreateSession(t.Context(), world.Request("u", world.RepoA))
		var list error
		for _, list = range cut.ListSessions(t.Context(), berth.SessionFilter{}) {
		}
		_, refresh := s.Refresh(t.Context())
		for what, err := range map[string]error{
			"GetSession": get, "SessionByTask": byTask, "ListSessions": list, "Refresh": refresh, "CreateSession": create,
			"KeepAlive": s.KeepAlive(t.Context()), "Command": s.Command(t.Context(), "true").Run(),
		} {
			if !errors.Is(err, berth.ErrUnavailable) || !errors.Is(err, world.ErrCut) || !berth.Retryable(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		reach.Cut.Store(false)
		world.After(time.Minute)
	})
}

// TestCommandInASessionThatItsContainerDoesNotHave: the store was restored from a backup while this process ran.
func TestCommandInASessionThatItsContainerDoesNotHave(t *testing.T) {
	for _, gone := range []bool{false, true} { // the record is older than the session
		t.Run(fmt.Sprintf("gone=%t", gone), func(t *testing.T) {
			world.Run(t, world.Setup{Config: berth.Config{SessionIdleTimeout: -1}}, func(t *testing.T, w *world.World) {
				s := w.Create("t", world.RepoA)
				w.Create("other", world.RepoA)
				var was *store.Session
				w.Edit(s.ID(), func(_ store.Tx, r *store.Session, _ *store.Container) error { was = r; return nil })
				inside, err := w.Engine.Connect(t.Context(), orchestrator.Endpoint{Pool: "berth", PoolUID: w.PoolUID(), Launch: was.Instance, Address: w.InstanceRecords()[0].Address})
				if err != nil {
					t.Fatal(err)
				}
				container, err := inside.Attach(t.Context(), was.EngineID)
				if err != nil {
					t.Fatal(err)
				}
				if err := container.CloseSession(t.Context(), s.ID(), was.UID); err != nil {
					t.Fatal(err)
				}
				inside.Close()
				want := berth.ErrContainerLost
				if gone {
					want = berth.ErrSessionNotFound
					err := w.Store.Update(t.Context(), nil, func(tx store.Tx) error { return tx.Delete(was.Key()) })
					if err != nil {
						t.Fatal(err)
					}
				}
				for range 2 {
					if err := s.Command(t.Context(), "true").Run(); !errors.Is(err, want) || errors.Is(err, agent.ErrUnknownSession) {
						t.Errorf("%v; want %v", err, want)
					}
				}
				synctest.Wait()
			})
		})
	}
}

// TestADestroyedPoolIsNotAClosedProvider: another process may open a destroyed pool again. A closed Provider stays
// closed.
func TestADestroyedPoolIsNotAClosedProvider(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		if err := w.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := other.CreateSession(t.Context(), world.Request("t", world.RepoA))
		if !errors.Is(err, berth.ErrDestroying) || errors.Is(err, berth.ErrClosed) || berth.Retryable(err) {
			t.Errorf("a pool that another process has destroyed: %v", err)
		}
		_, err = w.CreateSession(t.Context(), world.Request("t", world.RepoA))
		if !errors.Is(err, berth.ErrClosed) || errors.Is(err, berth.ErrDestroying) {
			t.Errorf("the Provider that has destroyed it: %v", err)
		}
	})
}

// TestAPlaceThatIsLostAgainAndAgain: the error is one of this package's sentinels, and says why.
func TestAPlaceThatIsLostAgainAndAgain(t *testing.T) {
	for _, lacking := range []bool{false, true} {
		world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
			gone := agent.ErrGone
			if lacking {
				gone = fmt.Errorf("%w: %w", agent.ErrGone, agent.ErrOutOfMemory)
			}
			w.Engine.Fail(fake.Open, 1000, gone)
			_, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA))
			failed, ok := errors.AsType[*berth.StartError](err)
			if !ok || failed.Phase != "checkout" || !errors.Is(err, berth.ErrContainerLost) || errors.Is(err, berth.ErrOutOfMemory) != lacking || !berth.Retryable(err) {
				t.Errorf("CreateSession, Retryable %v: %v", berth.Retryable(err), err)
			}
		})
	}
}

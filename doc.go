// Package berth runs coding tasks (an agent, a test run, a build) in containers that are shared by repository: all
// tasks on one repository share one Docker container. The first task fetches the repository; the next one is attached
// in milliseconds; the container goes with the last.
//
// Within its container a task has a session of its own: a checkout, a Unix uid, a home directory, an environment, and a
// lease that ends it when nobody uses it any more. Containers run on a pool of instances, each with a Docker engine and
// a fixed number of slots.
//
// # A session's life
//
//	p, err := berth.NewLocalProvider(ctx, berth.Config{}) // the Docker engine of this machine
//	s, err := p.CreateSession(ctx, berth.SessionRequest{TaskID: "t1", UserID: "alice", Repository: url})
//	out, err := s.Command(ctx, "go", "test", "./...").CombinedOutput()
//	err = p.TerminateSession(ctx, s.ID())
//
// [NewEC2SharedProvider] gives the same on instances of EC2, which it launches and ends by demand; [New], on any cloud
// and engine.
//
// CreateSession joins the running container of the repository, or starts one on the instance that holds the
// repository's mirror, or else on the fullest instance with a free slot. While no slot is free it waits, first come,
// first served, but fair between users. What it found says how fast it was: see [StartKind]. It is idempotent: a TaskID
// that has a session already gives that session. If its context ends first, it leaves nothing behind.
//
// Two remotes are one repository when package naming gives them one identity: https://github.com/acme/shop and
// git@github.com:Acme/shop.git are. Config.ScopeFor narrows the sharing to a branch, a user or a tenant.
//
// A session ends by TerminateSession, or because its lease ran out (no command and no [Session.KeepAlive] for its
// IdleTimeout), or because its container or instance was lost. [Session.Done] tells when, [Session.Err] why. When
// TerminateSession returns, every process of the session is dead, and all that it owned is gone.
//
// [Provider.Close] stops the Provider and leaves the sessions alone: another one over the same Store finds them.
// [Provider.Destroy] ends everything. With a Store in memory, which is the default, nobody finds the sessions after
// Close: use Destroy.
//
// # Errors
//
// All errors work with errors.Is and errors.As, say which task or session they are about, and hold no credential.
// [ErrInvalid] and [ErrTaskConflict] are the caller's to mend, and a [*FieldError] names the field; [ErrNoCapacity]
// passes; a [*StartError] holds git's or Docker's own message; after [ErrInstanceLost] or [ErrContainerLost] the same
// request gives a new session; a command that ran and failed returns an [*ExitError].
//
// What fails in the background is logged to Config.Logger, counted in [Provider.Stats], and, where it concerns a
// session, container or instance, told to Config.OnEvent.
//
// # Concurrency
//
// Providers and sessions are safe for concurrent use; a [Cmd] is not, as in os/exec. Any number of processes may share
// one pool through one Store: what one of them creates, the others find and can end.
//
// # Testing
//
// Let your code depend on [ComputeProvider]. In its tests, fake.NewProvider gives the real Provider over a cloud and
// container engines in memory: real states and real errors, scripted commands, faults on request, and with
// testing/synctest no waiting. The example program examples/hosttest is an HTTP handler with such a test.
//
// # Where to look
//
// Package naming tells repositories apart. Drivers implement three small contracts, each with a conformance suite:
// pool.Cloud, orchestrator.Engine and store.Store. "make demo" in the source shows all of this on your machine.
package berth

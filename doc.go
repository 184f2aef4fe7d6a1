// Package berth runs coding tasks (an agent, a test run, a build) in containers that are shared by repository. All tasks
// on one repository share one Docker container. The first task fetches the repository. Each later task is attached in a
// fraction of a second. The container ends with its last task, or Config.ContainerIdleTimeout later.
//
// A task has a session in its container: a checkout, a Unix uid, a home directory, an environment, and a lease that ends
// the session when nobody uses it. Containers run on a pool of instances. An instance is a machine with a Docker engine
// and a fixed number of slots, one for each session.
//
// # A first program
//
//	p, err := berth.NewLocalProvider(ctx, berth.Config{}) // the Docker engine of this machine
//	if err != nil {
//		return err
//	}
//	defer p.Destroy(context.Background()) // ends all sessions, removes all containers
//	s, err := p.CreateSession(ctx, berth.SessionRequest{TaskID: "t1", UserID: "alice", Repository: url})
//	if err != nil {
//		return err
//	}
//	out, err := s.Command(ctx, "git", "log", "-1").CombinedOutput() // as os/exec
//	if err != nil {
//		return fmt.Errorf("%w: %s", err, out)
//	}
//	return p.TerminateSession(ctx, s.ID())
//
// The default image has git and a shell. Config.Image and Config.ImageFor name others, with the tools of your tasks.
//
// # Providers
//
// A [Provider] has one of three constructors:
//
//   - [NewLocalProvider] uses the Docker engine of this machine.
//   - [NewEC2SharedProvider] launches EC2 instances when tasks arrive, and ends them when the tasks have gone. [CheckEC2]
//     lists what would keep an instance from being launched, and launches nothing.
//   - [New] takes any cloud and any container engine.
//
// [Config] is one struct. The zero value of each field is a documented default, and -1 turns a feature off. Config.Store
// keeps the records: in memory, in an SQLite file (store/sqlitestore), or in PostgreSQL (store/pgstore). With the latter
// two, sessions outlive the process, and several processes may share one pool: those of one machine with SQLite, those of
// any number of machines with PostgreSQL. Each of them finds, uses and ends the sessions of the others.
//
// [Provider.Close] stops the Provider and leaves the sessions alone. A later Provider over the same Store finds them.
// [Provider.Destroy] ends everything. With a Store in memory, which is the default of New and NewLocalProvider, nobody
// finds the sessions after Close, so use Destroy.
//
// # Sessions
//
// [Provider.CreateSession] joins the running container of the repository. If there is none, it starts a container on the
// instance that has the repository's mirror, or else on the fullest instance with a free slot. If no slot is free, it waits:
// first come, first served, but fair between users. [StartKind] says what the session found, which decides how fast its start
// was. CreateSession is idempotent: for a TaskID that has a session, it returns that session. If its context ends first, it
// leaves nothing behind.
//
// Two remotes are one repository when package naming gives them one identity, as it does for https://github.com/acme/shop
// and git@github.com:Acme/shop.git. [Sharing] narrows the sharing to a branch, a user or a tenant. A user joins what
// another user's credential has fetched only if its own credential reads the remote: see [Access]. Each session has a
// uid of its own and, where the engine allows it, a room: namespaces and limits that keep a hostile task from its
// neighbours. docs/security.md in the source is the threat model.
//
// A session ends by [Provider.TerminateSession] or [Provider.Revoke]; when its lease runs out, because it had neither a
// command nor a [Session.KeepAlive] for its IdleTimeout; when it has more on the disk than its limit; or when its container
// or its instance is lost. [Session.Done] tells when, and [Session.Err] tells why. When TerminateSession returns, every
// process of the session is dead, and its files are gone.
//
// [Session.Command] has the shape of os/exec. The command is killed when its context or its session ends. It goes on when
// this process ends, and keeps its session alive. [Session.Dial] connects with a server that runs in the session, and
// [Session.Attach] gives a command again that was started Detached.
//
// # Errors
//
// All errors work with errors.Is and errors.As, say which task or session they are about, and hold no credential.
// [Retryable] reports whether the same call may succeed later.
//
//   - [ErrInvalid] and [ErrTaskConflict] are errors of the request. A [*FieldError] names the field.
//   - [ErrNoCapacity] passes when a slot is free.
//   - A [*StartError] holds the message of git or of Docker.
//   - After [ErrInstanceLost] or [ErrContainerLost], the same request makes a new session.
//   - An [*ExitError] says that a command ran and failed.
//   - [ErrOutputCut] says that output did not arrive to its last byte, alone or beside another error.
//
// A failure in the background is logged to Config.Logger and counted in [Provider.Stats]. If it concerns a session, a
// container or an instance, Config.OnEvent is called too.
//
// # Watching a pool
//
// [Provider.Health] says whether this process and the pool do what they should, and Config.MeterProvider names who gets
// OpenTelemetry's metrics of it. [Provider.Usage] is the bill. "make dashboard" in the source starts a pool with its dashboard,
// and the program examples/dashboard is to copy. docs/operations.md there says what to look at, and when.
//
// # Concurrency
//
// Providers and sessions are safe for concurrent use. A [Cmd] is not, as in os/exec, apart from
// its methods that say so.
//
// # Testing
//
// Let your code depend on [ComputeProvider]. In its tests, fake.NewProvider returns the real Provider over a cloud and
// container engines in memory. States and errors are real, commands are Go functions, faults come on request, and with
// testing/synctest nothing waits. The program examples/hosttest in the source is an HTTP handler with such tests,
// and examples/agenthost a whole backend.
//
// # More
//
// The examples of this package show one job each. "make demo" in the source shows berth on your machine. README.md there
// leads on to images, operations, EC2 and faults. Drivers implement one of three small contracts, each with a conformance
// suite: pool.Cloud, orchestrator.Engine and store.Store.
package berth

package fake

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/berth-go/berth/orchestrator"
)

// EngineOptions describes an Engine. The zero value answers at every address, has every image and every repository,
// and runs every command with success.
type EngineOptions struct {
	// Cloud, if not nil, says which machines there are: an engine answers while its machine runs, and a machine that
	// got the address of an ended one is another host. Without it every address is a host that has always been there.
	Cloud *Cloud

	Latency Latency
	Instant bool // nothing takes any time

	// Repositories are the repositories that differ from the usual one, which has a branch main and nothing else, by
	// any spelling of their remote, or by the string of their naming.Repository.
	Repositories map[string]Repo
	Images       []string // that can be had. nil = any
	Commands     []string // what Args[0] may be. nil = anything
	Disk         int64    // bytes for the mirrors of one host. Default 100 GiB

	// Run, if not nil, is what every command does: it returns the exit code, or below 0 the signal that ended it,
	// negated. Its context ends when the command is killed. It should then return; a command whose Run does not is
	// dead all the same, and nothing that it still writes arrives. Each command has a goroutine of its own.
	Run func(ctx context.Context, cmd Command) int

	// Fault, if not nil, is asked before each call for which no other fault was promised. It may be called by many
	// goroutines at once, and must not block.
	Fault func(Call) Fault
}

// Latency says how long the parts of an engine's work take. Of each, 0 is the default and -1 is none.
type Latency struct {
	Call   time.Duration // everything that is not listed below. Default 1 ms
	Start  time.Duration // making a container run. Default 350 ms
	Remove time.Duration // killing and removing a container. Default 170 ms
	Clone  time.Duration // the first fetch of a repository. Default 2 s
	Fetch  time.Duration // each further fetch. Default 200 ms
	Open   time.Duration // making a checkout. Default 30 ms
	Close  time.Duration // ending a session. Default 20 ms
	Exec   time.Duration // starting a command. Default 3 ms
}

func (l Latency) withDefaults() Latency {
	return Latency{
		Call:   latency(l.Call, time.Millisecond),
		Start:  latency(l.Start, 350*time.Millisecond),
		Remove: latency(l.Remove, 170*time.Millisecond),
		Clone:  latency(l.Clone, 2*time.Second),
		Fetch:  latency(l.Fetch, 200*time.Millisecond),
		Open:   latency(l.Open, 30*time.Millisecond),
		Close:  latency(l.Close, 20*time.Millisecond),
		Exec:   latency(l.Exec, 3*time.Millisecond),
	}
}

// Engine is an orchestrator.Engine in memory: all the hosts that its callers reach. Several replicas, and several
// pools, may share one. It has no goroutine but those of running commands, see Close.
type Engine struct {
	Faults
	opts     EngineOptions
	images   map[string]bool
	commands map[string]bool
	running  sync.WaitGroup // functions of commands

	mu      sync.Mutex // protects what follows; never held while waiting. It may be taken while a node's is held
	nodes   map[string]*node
	remotes map[string]*remote
	counts  map[string]*counts // by container name
	most    int                // sessions that one host had at once
}

var _ orchestrator.Engine = (*Engine)(nil)

// NewEngine returns an Engine whose hosts are empty.
func NewEngine(opts EngineOptions) *Engine {
	e := &Engine{
		opts:    opts,
		nodes:   make(map[string]*node),
		remotes: make(map[string]*remote),
		counts:  make(map[string]*counts),
	}
	e.opts.Latency = opts.Latency.withDefaults()
	if opts.Instant {
		e.opts.Latency = Latency{}
	}
	e.opts.Disk = cmp.Or(opts.Disk, 100<<30)
	e.images, e.commands = set(opts.Images), set(opts.Commands)
	for spelling, r := range opts.Repositories {
		e.remotes[identity(spelling)] = newRemote(spelling, r)
	}
	e.init(opts.Fault, Connect, Probe, Ensure, List, Remove, RemoveMirror, Purge, Attach,
		Fetch, Open, CloseSession, Sessions, Idle, Start, Kill)
	if opts.Cloud != nil {
		opts.Cloud.mu.Lock()
		opts.Cloud.engines = append(opts.Cloud.engines, e)
		opts.Cloud.mu.Unlock()
	}
	return e
}

// As returns the same engine for one caller, whose name the Calls then carry.
func (e *Engine) As(actor string) orchestrator.Engine { return engineClient{e, actor} }

// Connect implements orchestrator.Engine.
func (e *Engine) Connect(ctx context.Context, endpoint orchestrator.Endpoint) (orchestrator.Host, error) {
	return engineClient{e, ""}.Connect(ctx, endpoint)
}

// Close kills every container of every host and returns when the functions of all commands have returned. A test that
// leaves commands running calls it at its end.
func (e *Engine) Close() error {
	e.mu.Lock()
	nodes := sorted(e.nodes)
	e.mu.Unlock()
	for _, n := range nodes {
		n.killAll()
	}
	e.running.Wait()
	return nil
}

// engineClient is an Engine as one caller has it.
type engineClient struct {
	engine *Engine
	actor  string
}

func (c engineClient) Connect(ctx context.Context, endpoint orchestrator.Endpoint) (orchestrator.Host, error) {
	e := c.engine
	call := Call{Actor: c.actor, Verb: Connect, Host: cmp.Or(endpoint.Launch, endpoint.Address)}
	r, err := e.begin(ctx, call, e.opts.Latency.Call, nil)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", endpoint.Address, err)
	}
	n, err := e.reach(endpoint)
	if err == nil {
		err = n.answers(ctx, r, endpoint.Address)
	}
	if err = r.finish(ctx, err); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", endpoint.Address, err)
	}
	return newHost(n, endpoint, c.actor), nil
}

// reach returns the host that answers at an endpoint.
func (e *Engine) reach(endpoint orchestrator.Endpoint) (*node, error) {
	key := endpoint.Address
	if e.opts.Cloud != nil {
		launch, ok := e.opts.Cloud.runs(endpoint.Address)
		if !ok {
			return nil, errNoRoute
		}
		if launch != endpoint.Launch {
			return nil, orchestrator.ErrWrongHost
		}
		key = launch
	}
	e.mu.Lock()
	n := e.node(key)
	n.launch = endpoint.Launch
	e.mu.Unlock()
	if e.opts.Cloud != nil {
		if launch, _ := e.opts.Cloud.runs(endpoint.Address); launch != endpoint.Launch {
			e.machineGone(endpoint.Launch) // it went before the Cloud could have told of it
		}
	}
	return n, nil
}

// node returns a host, which is made when it is first named. The caller holds mu.
func (e *Engine) node(key string) *node {
	n := e.nodes[key]
	if n == nil {
		n = newNode(e, key)
		e.nodes[key] = n
	}
	return n
}

// machineGone is called by the Cloud when a machine does not run any more.
func (e *Engine) machineGone(launch string) {
	e.mu.Lock()
	n := e.nodes[launch]
	delete(e.nodes, launch)
	e.mu.Unlock()
	if n != nil {
		n.vanish()
	}
}

// machineMoved is called by the Cloud when a machine has got another address.
func (e *Engine) machineMoved(launch, address string) {
	e.mu.Lock()
	n := e.nodes[launch]
	e.mu.Unlock()
	if n != nil { // else nobody has reached it yet
		n.mu.Lock()
		n.moved = address
		n.troubled.Store(true)
		n.mu.Unlock()
	}
}

func set(names []string) map[string]bool {
	if names == nil {
		return nil
	}
	s := make(map[string]bool, len(names))
	for _, name := range names {
		s[name] = true
	}
	return s
}

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
	// Cloud, if not nil, has the machines of the hosts. An engine answers while its machine runs, and a machine that
	// got the address of an ended one is another host. Without a Cloud, every address is a host that has always
	// existed.
	Cloud *Cloud

	Latency Latency
	Instant bool // nothing takes any time

	// Repositories has the repositories that differ from the usual one, which has a branch main and nothing else. A key
	// is any spelling of the remote, or the string of the naming.Repository.
	Repositories map[string]Repo
	Images       []string // the images that can be pulled. nil = any
	Commands     []string // the possible values of Args[0]. nil = anything
	// NoRooms is why no host gives sessions rooms of their own, as an engine without privileges does. "" = hosts do.
	NoRooms string
	// DiskQuota says that hosts with rooms bound the disk of sessions by project quotas. FillDisk still does what it says.
	DiskQuota bool
	// NoSharedCheckouts is why checkouts are no mounts on hosts with rooms, as on an old kernel. "" = they are.
	NoSharedCheckouts string

	Disk int64 // space for the mirrors of one host, in bytes. Default 100 GiB

	// Run, if not nil, is what every command does: it returns the exit code, or the negative number of the signal that ended
	// it. Its context ends when the command is killed. It should then return; a command whose Run does not return is dead all
	// the same, and its further output is discarded. Each command has a goroutine of its own.
	Run func(ctx context.Context, cmd Command) int

	// Fault, if not nil, is called before each call that has no other fault due. Many goroutines may call it at once,
	// and it must not block.
	Fault func(Call) Fault
}

// Latency says how long the parts of an engine's work take. 0 means the default, and -1 means none.
type Latency struct {
	Call   time.Duration // everything not listed below. Default 1 ms
	Pull   time.Duration // pulling an image that a host does not have yet. Default none: hosts have all images
	Start  time.Duration // making a container run. Default 350 ms
	Remove time.Duration // killing and removing a container. Default 170 ms
	Clone  time.Duration // the first fetch of a repository. Default 2 s
	Fetch  time.Duration // each further fetch. Default 200 ms
	Open   time.Duration // making a checkout. Default 30 ms
	Close  time.Duration // ending a session. Default 20 ms
	Exec   time.Duration // starting a command. Default 3 ms
	// Prepare is the making of a prepared layer, beside what its commands take. Default 10 s
	Prepare time.Duration
}

func (l Latency) withDefaults() Latency {
	return Latency{
		Call:   latency(l.Call, time.Millisecond),
		Pull:   latency(l.Pull, 0),
		Start:  latency(l.Start, 350*time.Millisecond),
		Remove: latency(l.Remove, 170*time.Millisecond),
		Clone:  latency(l.Clone, 2*time.Second),
		Fetch:  latency(l.Fetch, 200*time.Millisecond),
		Open:   latency(l.Open, 30*time.Millisecond),
		Close:  latency(l.Close, 20*time.Millisecond),
		Exec:   latency(l.Exec, 3*time.Millisecond),

		Prepare: latency(l.Prepare, 10*time.Second),
	}
}

// Engine is an orchestrator.Engine in memory: all the hosts that its callers reach. Several replicas, and several
// pools, may share one. It has no goroutine but those of running commands, see Close.
//
// A host in its methods is a launch ID or an address, as InstanceInfo has them. Without a Cloud, any address is a host. A name
// is that of a container, as ContainerInfo has it.
type Engine struct {
	Faults
	remotes
	opts     EngineOptions
	images   map[string]bool
	commands map[string]bool
	running  sync.WaitGroup // functions of commands

	mu     sync.Mutex // protects the fields below; never held while waiting. It may be taken while a node's mu is held
	nodes  map[string]*node
	counts map[string]*counts // by container name
	most   int                // the most sessions that one host has had at once
	// snatched counts the resources that were removed while a start was using them.
	snatched int
}

var _ orchestrator.Engine = (*Engine)(nil)

// NewEngine returns an Engine whose hosts are empty.
func NewEngine(opts EngineOptions) *Engine {
	e := &Engine{
		opts:    opts,
		nodes:   make(map[string]*node),
		remotes: remotes{byIdentity: make(map[string]*remote)},
		counts:  make(map[string]*counts),
	}
	e.opts.Latency = opts.Latency.withDefaults()
	if opts.Instant {
		e.opts.Latency = Latency{}
	}
	e.opts.Disk = cmp.Or(opts.Disk, 100<<30)
	e.images, e.commands = set(opts.Images), set(opts.Commands)
	for spelling, r := range opts.Repositories {
		e.remotes.byIdentity[identity(spelling)] = newRemote(spelling, r)
	}
	e.init(opts.Fault, Connect, Probe, Ensure, List, Remove, RemoveMirror, RemoveResource, Purge, Attach,
		Fetch, Open, CloseSession, Sessions, Idle, Renew, FillCaches, PrepareLayer, PromoteLayer, ReadLayer, WriteLayer, KeepWork, BringWork, Start,
		Commands, Dial, Ports, AnswerQuestion, Kill, Signal,
		Resize,
		Deliver)
	if opts.Cloud != nil {
		opts.Cloud.mu.Lock()
		opts.Cloud.engines = append(opts.Cloud.engines, e)
		opts.Cloud.mu.Unlock()
	}
	return e
}

// As returns the same engine for one caller. Its Calls carry the caller's name.
func (e *Engine) As(actor string) orchestrator.Engine { return engineClient{engine: e, actor: actor} }

// Connect implements orchestrator.Engine.
func (e *Engine) Connect(ctx context.Context, endpoint orchestrator.Endpoint) (orchestrator.Host, error) {
	return engineClient{engine: e}.Connect(ctx, endpoint)
}

// Close kills every container of every host and returns when the functions of all commands have returned. The package
// comment says which tests need it at their end.
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
	runs   *runs // of the Provider that uses it; nil unless NewProvider made that Provider
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
	return newHost(n, endpoint, c), nil
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
			e.machineGone(endpoint.Launch) // it ended before the Cloud could report it
		}
	}
	return n, nil
}

// node returns a host, and makes it if it is named for the first time. The caller holds mu.
func (e *Engine) node(key string) *node {
	n := e.nodes[key]
	if n == nil {
		n = newNode(e, key)
		e.nodes[key] = n
	}
	return n
}

// machineGone is called by the Cloud when a machine has stopped running.
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
	if n != nil { // otherwise nobody has reached it yet
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

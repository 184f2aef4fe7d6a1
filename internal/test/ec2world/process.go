package ec2world

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/orchestrator"
)

// StartFunc makes a Provider on EC2. engine has the engines of its instances.
type StartFunc func(context.Context, berth.Config, orchestrator.Engine) (*berth.Provider, error)

// Process is a process of a host application, with one Provider. Once it is killed, it reaches neither AWS nor the store
// nor an engine.
type Process struct {
	*berth.Provider
	at KillPoint // when it is killed; zero = never

	mu     sync.Mutex // protects the fields below
	dead   bool
	counts map[string]int // calls so far, by their sort
	sites  []Site         // all calls, in their order
	ending sync.WaitGroup // the rest of the process after it was killed
}

var errKilled = errors.New("the process was killed")

// WithEngines gives the account's instances engines that answer while they run, and lets Begin start processes.
func (a *Account) WithEngines(start StartFunc) {
	a.start, a.processes = start, make(map[string]*Process)
	a.engine = fake.NewEngine(fake.EngineOptions{Fault: func(c fake.Call) fake.Fault {
		if p := a.processes[c.Actor]; p != nil && p.Dead() {
			return fake.Fault{Before: errKilled}
		}
		return fake.Fault{}
	}})
	a.Cleanup(func() { a.engine.Close() })
}

// Begin starts a process on the account's store. It returns an error if the process was killed meanwhile.
func (a *Account) Begin(name string, at KillPoint) (*Process, error) {
	p := &Process{at: at, counts: make(map[string]int)}
	cfg := a.Config
	sdk := cfg.EC2.AWS.Copy()
	sdk.HTTPClient = processClient{p, a.Server.Client()}
	cfg.EC2.AWS, cfg.Store = &sdk, processStore{a.Config.Store, p}
	cfg.Logger = cfg.Logger.With("process", name)
	a.processes[name] = p
	made, err := a.start(a.Context(), cfg, a.engine.As(name))
	if err != nil {
		return p, err
	}
	a.Cleanup(func() {
		made.Close()
		p.ending.Wait()
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Provider = made
	if p.dead {
		p.ending.Go(func() { made.Close() })
		return p, errKilled
	}
	return p, nil
}

// Dead reports whether the process was killed.
func (p *Process) Dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// Kill ends the process. Its goroutines end soon, and their calls have no effect.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return
	}
	p.dead = true
	if made := p.Provider; made != nil {
		p.ending.Go(func() { made.Close() })
	}
}

// Sites returns the calls so far, in their order.
func (p *Process) Sites() []Site {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sites)
}

// Until waits until a condition holds. It gives up when the process is dead.
func (p *Process) Until(within time.Duration, is func() bool) error {
	for end := time.Now().Add(within); !is(); time.Sleep(100 * time.Millisecond) {
		switch {
		case p.Dead():
			return errKilled
		case time.Now().After(end):
			return errors.New("it did not come within " + within.String())
		}
	}
	return nil
}

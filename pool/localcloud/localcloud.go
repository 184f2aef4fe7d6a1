// Package localcloud is the cloud of a pool that has one instance: the machine that runs the program, or the one that
// DOCKER_HOST names.
package localcloud

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/berth-go/berth/pool"
)

// Options describes the machine.
type Options struct {
	// Address of its container engine. Default: DefaultAddress().
	Address string
	// Launch returns the launch that has the machine by the pool's records, or "". A Cloud by itself knows neither earlier
	// runs of the program nor other processes. Launch is called before each use of the machine. nil = the Cloud's own
	// launches are all
	Launch func(context.Context) (id string, err error)
}

// Cloud is a pool.Cloud with one machine, which is always there. A launch takes the machine, and a termination gives it
// back. The Cloud starts and ends nothing.
type Cloud struct {
	address string
	launch  func(context.Context) (string, error)

	mu       sync.Mutex      // protects what follows
	taken    *pool.Machine   // nil = no launch has it
	frozen   pool.Frozen     // of the launch that took it; nil if that was of another process or an earlier run
	recorded bool            // the records have shown that launch
	spent    map[string]bool // launches that gave it back
	ended    *pool.Machine   // of the last launch that gave it back: List still shows it, so that nobody waits for its end
}

var (
	_ pool.Cloud      = (*Cloud)(nil)
	_ pool.Stationary = (*Cloud)(nil)
)

// New returns the Cloud of this machine.
func New(opts Options) *Cloud {
	c := &Cloud{address: cmp.Or(opts.Address, DefaultAddress()), launch: opts.Launch, spent: make(map[string]bool)}
	if c.launch == nil {
		c.launch = func(context.Context) (string, error) { return "", nil }
	}
	return c
}

// lock asks which launch has the machine, and locks mu.
func (c *Cloud) lock(ctx context.Context) (unlock func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	launch, err := c.launch(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking which launch has this machine: %w", err)
	}
	c.mu.Lock()
	switch {
	case launch == "" && c.recorded: // another process has given it back
		c.taken, c.frozen, c.recorded = nil, nil, false
	case launch != "" && !c.spent[launch]:
		if c.taken == nil || c.taken.LaunchID != launch {
			c.take(launch)
			c.frozen = nil
		}
		c.recorded = true
	}
	return c.mu.Unlock, nil
}

// take gives the machine to a launch. The cloud ID is made from the launch's, so that a late termination does not end the
// next launch. The caller holds mu.
func (c *Cloud) take(launch string) {
	c.taken = &pool.Machine{
		LaunchID: launch,
		CloudID:  "local-" + launch,
		Address:  c.address,
		State:    pool.MachineRunning,
		Launched: time.Now(),
	}
}

// Address returns the address of the machine's container engine.
func (c *Cloud) Address() string { return c.address }

// Prepare implements pool.Cloud.
func (c *Cloud) Prepare(ctx context.Context, s pool.Spec) (pool.Frozen, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return json.Marshal(s)
}

// Launch takes the machine. While another launch has it, that is pool.ErrCapacity.
func (c *Cloud) Launch(ctx context.Context, id string, f pool.Frozen) (pool.Machine, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return pool.Machine{}, err
	}
	defer unlock()
	switch {
	case c.spent[id]:
		return pool.Machine{}, fmt.Errorf("%w: launch %s has given the machine back", pool.ErrLaunchOver, id)
	case c.taken != nil && c.taken.LaunchID == id:
		if c.frozen != nil && !bytes.Equal(c.frozen, f) {
			return pool.Machine{}, fmt.Errorf("%w: launch %s was another request", pool.ErrLaunchOver, id)
		}
		return *c.taken, nil
	case c.taken != nil:
		return pool.Machine{}, fmt.Errorf("%w: launch %s has this machine", pool.ErrCapacity, c.taken.LaunchID)
	}
	c.take(id)
	c.frozen = bytes.Clone(f)
	return *c.taken, nil
}

// List returns the machine while a launch has it, and as ended once the launch has given it back.
func (c *Cloud) List(ctx context.Context) ([]pool.Machine, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var machines []pool.Machine
	for _, m := range []*pool.Machine{c.ended, c.taken} {
		if m != nil {
			machines = append(machines, *m)
		}
	}
	return machines, nil
}

// Terminate gives the machine back.
func (c *Cloud) Terminate(ctx context.Context, cloudIDs ...string) (map[string]error, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, id := range cloudIDs {
		if c.taken != nil && id == c.taken.CloudID {
			c.spent[c.taken.LaunchID] = true
			c.ended, c.taken, c.frozen, c.recorded = c.taken, nil, nil, false
			c.ended.State, c.ended.Ended = pool.MachineEnded, time.Now()
		}
	}
	return nil, nil
}

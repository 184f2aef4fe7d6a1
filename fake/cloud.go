package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/pool"
)

// CloudOptions describes a Cloud. A duration of 0 means the default, and -1 means none.
type CloudOptions struct {
	Boot    time.Duration // from the launch until the machine runs and has its address. Default 5 s
	Ending  time.Duration // from the termination until the machine has ended. Default 2 s
	Latency time.Duration // of each call. Default 50 ms
	// ListLag is how far List lags behind. List does not show a machine that was launched within this time, and shows
	// one that was terminated within it as running. Default 2 s.
	ListLag time.Duration
	// Linger is how long List shows a machine that has ended, as ended and with its reason. Default 1 min.
	Linger   time.Duration
	Instant  bool // none of the above takes any time, except Linger
	Capacity int  // machines that may be alive at once. 0 = no limit
	// Fault, if not nil, is called before each call that has no other fault due. Many goroutines may call it at once,
	// and it must not block.
	Fault func(Call) Fault
}

func (o CloudOptions) withDefaults() CloudOptions {
	o.Boot = latency(o.Boot, 5*time.Second)
	o.Ending = latency(o.Ending, 2*time.Second)
	o.Latency = latency(o.Latency, 50*time.Millisecond)
	o.ListLag = latency(o.ListLag, 2*time.Second)
	o.Linger = latency(o.Linger, time.Minute)
	if o.Instant {
		o.Boot, o.Ending, o.Latency, o.ListLag = 0, 0, 0, 0
	}
	if o.Capacity == 0 {
		o.Capacity = math.MaxInt
	}
	return o
}

// Cloud is a pool.Cloud in memory. It serves one pool, of any name, and any number of replicas. Its machines change
// with time alone. It needs no Close: it has no goroutine, except for a moment when a machine is reclaimed.
type Cloud struct {
	Faults
	opts CloudOptions

	mu       sync.Mutex // protects the fields below; never held while waiting
	fleet    fleet
	image    string
	version  string // see SetGeneration
	refused  error  // of every call; see Refuse
	capacity int
	maxAlive int
	atBoot   []string // reasons with which the next machines end as they boot
	foreign  int
	engines  []*Engine // to be informed when a machine is gone
}

var (
	_ pool.Cloud     = (*Cloud)(nil)
	_ pool.Versioned = (*Cloud)(nil)
	_ pool.Explainer = (*Cloud)(nil)
)

// NewCloud returns a Cloud without machines.
func NewCloud(opts CloudOptions) *Cloud {
	c := &Cloud{opts: opts.withDefaults(), image: "image-1"}
	c.fleet = fleet{opts: c.opts, byLaunch: make(map[string]*machine), byCloud: make(map[string]*machine)}
	c.capacity = c.opts.Capacity
	c.init(opts.Fault, Prepare, Launch, ListMachines, Terminate, Generation, Explain)
	return c
}

// As returns the same cloud for one caller. Its Calls carry the caller's name.
func (c *Cloud) As(actor string) pool.Cloud { return cloudClient{c, actor} }

// Prepare implements pool.Cloud.
func (c *Cloud) Prepare(ctx context.Context, s pool.Spec) (pool.Frozen, error) {
	return cloudClient{c, ""}.Prepare(ctx, s)
}

// Launch implements pool.Cloud.
func (c *Cloud) Launch(ctx context.Context, id string, f pool.Frozen) (pool.Machine, error) {
	return cloudClient{c, ""}.Launch(ctx, id, f)
}

// List implements pool.Cloud. Machines come in the order of their launches.
func (c *Cloud) List(ctx context.Context) ([]pool.Machine, error) {
	return cloudClient{c, ""}.List(ctx)
}

// Terminate implements pool.Cloud.
func (c *Cloud) Terminate(ctx context.Context, cloudIDs ...string) (map[string]error, error) {
	return cloudClient{c, ""}.Terminate(ctx, cloudIDs...)
}

// Generation implements pool.Versioned. It returns "" until SetGeneration.
func (c *Cloud) Generation(ctx context.Context) (string, error) {
	return cloudClient{c, ""}.Generation(ctx)
}

// Explain implements pool.Explainer. It returns "" until SetConsole.
func (c *Cloud) Explain(ctx context.Context, cloudID string) (string, error) {
	return cloudClient{c, ""}.Explain(ctx, cloudID)
}

// cloudClient is a Cloud as one caller has it.
type cloudClient struct {
	cloud *Cloud
	actor string
}

// begin returns when it is time for the call's effect.
func (c cloudClient) begin(ctx context.Context, v Verb, host string) (reply, error) {
	r, err := c.cloud.begin(ctx, Call{Actor: c.actor, Verb: v, Host: host}, c.cloud.opts.Latency, nil)
	if err == nil {
		c.cloud.mu.Lock()
		err = c.cloud.refused
		c.cloud.mu.Unlock()
	}
	return r, err
}

// frozen is the content of a pool.Frozen of this cloud.
type frozen struct {
	Pool, PoolUID, LaunchID, Type, Image string
}

func (c cloudClient) Prepare(ctx context.Context, s pool.Spec) (pool.Frozen, error) {
	r, err := c.begin(ctx, Prepare, s.LaunchID)
	if err != nil {
		return nil, fmt.Errorf("preparing launch %s: %w", s.LaunchID, err)
	}
	c.cloud.mu.Lock()
	image := c.cloud.image
	c.cloud.mu.Unlock()
	f, err := json.Marshal(frozen{s.Pool, s.PoolUID, s.LaunchID, s.Type, image})
	if err = r.finish(ctx, err); err != nil {
		return nil, fmt.Errorf("preparing launch %s: %w", s.LaunchID, err)
	}
	return f, nil
}

func (c cloudClient) Launch(ctx context.Context, id string, f pool.Frozen) (pool.Machine, error) {
	r, err := c.begin(ctx, Launch, id)
	var m pool.Machine
	if err == nil {
		m, err = c.cloud.launch(id, f)
		err = r.finish(ctx, err)
	}
	if err != nil {
		return pool.Machine{}, fmt.Errorf("launch %s: %w", id, err)
	}
	return m, nil
}

func (c cloudClient) List(ctx context.Context) ([]pool.Machine, error) {
	r, err := c.begin(ctx, ListMachines, "")
	var all []pool.Machine
	if err == nil {
		all = c.cloud.list()
		err = r.finish(ctx, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("listing machines: %w", err)
	}
	return all, nil
}

func (c cloudClient) Terminate(ctx context.Context, cloudIDs ...string) (map[string]error, error) {
	all := strings.Join(cloudIDs, ",")
	r, err := c.begin(ctx, Terminate, all)
	var failed map[string]error
	if err == nil {
		failed = c.cloud.terminate(cloudIDs)
		err = r.finish(ctx, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("terminating %s: %w", all, err)
	}
	return failed, nil
}

func (c cloudClient) Generation(ctx context.Context) (string, error) {
	r, err := c.begin(ctx, Generation, "")
	c.cloud.mu.Lock()
	version := c.cloud.version
	c.cloud.mu.Unlock()
	if err == nil {
		err = r.finish(ctx, nil)
	}
	if err != nil {
		return "", fmt.Errorf("reading the generation: %w", err)
	}
	return version, nil
}

func (c cloudClient) Explain(ctx context.Context, cloudID string) (string, error) {
	r, err := c.begin(ctx, Explain, cloudID)
	c.cloud.mu.Lock()
	var console string
	if m := c.cloud.fleet.byCloud[cloudID]; m != nil {
		console = m.console
	}
	c.cloud.mu.Unlock()
	if err == nil {
		err = r.finish(ctx, nil)
	}
	if err != nil {
		return "", fmt.Errorf("reading the console of %s: %w", cloudID, err)
	}
	return console, nil
}

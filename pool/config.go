package pool

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/berth-go/berth/store"
)

// Config configures a Manager. The zero value of an optional field is the default that its comment gives.
type Config struct {
	Name  string // of the pool
	Cloud Cloud
	Store store.Store
	// Probe returns nil when the engine of an instance takes work. It is called with a deadline, for many instances
	// at once.
	Probe func(ctx context.Context, in *store.Instance) error
	// Demand returns how many queued sessions wait for a slot that a new instance could give them.
	Demand func(ctx context.Context) (int, error)
	// OnChange is told of every change of an instance's state, after it is stored. It must not block.
	OnChange func(in store.Instance)
	Logger   *slog.Logger

	InstanceType     string
	MinInstances     int
	MaxInstances     int
	SlotsPerInstance int
	SpareSlots       int // free slots to keep ready, so that the next session need not wait for a boot

	IdleTimeout   time.Duration // an instance without sessions is retired after it. 10 min; -1 = never
	BootTimeout   time.Duration // from launch to ready. 5 min
	ScanInterval  time.Duration // between two looks at the cloud while nothing changes; a tenth of it while something does. 10 s
	ProbeInterval time.Duration // between two probes of a ready instance; a tenth of it while one boots. 10 s
	ProbeTimeout  time.Duration // of one probe. 5 s
	ProbeStrikes  int           // failed probes in a row until an instance counts as lost. 5
	CallTimeout   time.Duration // of one call to the cloud. 60 s
	// OrphanGrace is how long a machine of the pool may be unknown to the store, or an instance unknown to the cloud,
	// before that is believed: a cloud's list lags behind. 5 min
	OrphanGrace time.Duration
}

func (c Config) withDefaults() Config {
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 10*time.Minute)
	c.BootTimeout = cmp.Or(c.BootTimeout, 5*time.Minute)
	c.ScanInterval = cmp.Or(c.ScanInterval, 10*time.Second)
	c.ProbeInterval = cmp.Or(c.ProbeInterval, 10*time.Second)
	c.ProbeTimeout = cmp.Or(c.ProbeTimeout, 5*time.Second)
	c.ProbeStrikes = cmp.Or(c.ProbeStrikes, 5)
	c.CallTimeout = cmp.Or(c.CallTimeout, time.Minute)
	c.OrphanGrace = cmp.Or(c.OrphanGrace, 5*time.Minute)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnChange == nil {
		c.OnChange = func(store.Instance) {}
	}
	return c
}

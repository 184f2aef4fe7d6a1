package replica

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// Several processes may share a pool and not be configured alike: while a new version is rolled out, or by mistake. The
// planner's settings are in force for what concerns the whole pool. The planner writes them on the pool's record. Only the
// planner uses most of them. The other processes take the rest from the record.

// The names of the settings that every process takes from the pool's record.
const (
	MaxContainers        = "MaxContainersPerRepository"
	ContainerIdleTimeout = "ContainerIdleTimeout"
)

// settings are the settings in force, as this process last saw them on the pool's record.
type settings struct {
	generation    int           // 0 = no process has planned yet
	maxContainers int           // see MaxContainers
	idleTimeout   time.Duration // see ContainerIdleTimeout
	differs       []string      // how they differ from this process's own
}

func (r *Replica) settingsOf(pool *store.Pool) *settings {
	return &settings{
		generation:    pool.SettingsGeneration,
		maxContainers: r.MaxContainersBy(pool),
		idleTimeout:   r.idleTimeoutBy(pool),
		differs:       differences(pool.Settings, r.cfg.Settings),
	}
}

// MaxContainersBy returns how many containers a sharing key may have, by the pool's record.
func (r *Replica) MaxContainersBy(pool *store.Pool) int {
	if n, err := strconv.Atoi(pool.Settings[MaxContainers]); err == nil && n >= 1 {
		return n
	}
	return r.cfg.MaxContainers
}

// MaxContainers returns how many containers a sharing key may have, as this process last read it.
func (r *Replica) MaxContainers() int { return r.inForce.Load().maxContainers }

// idleTimeoutBy returns how long an empty container stays, by the pool's record. None stays under a planner of a version that does
// not look after them.
func (r *Replica) idleTimeoutBy(pool *store.Pool) time.Duration {
	if pool.SettingsGeneration == 0 {
		return r.cfg.ContainerIdleTimeout
	}
	if d, err := time.ParseDuration(pool.Settings[ContainerIdleTimeout]); err == nil && d >= -1 {
		return d
	}
	return 0
}

// ContainerIdleTimeout returns how long an empty container stays, as this process last read it.
func (r *Replica) ContainerIdleTimeout() time.Duration { return r.inForce.Load().idleTimeout }

// Differences says how the settings in force differ from this process's own: "MaxInstances is 5, not 3".
func (r *Replica) Differences() []string { return slices.Clone(r.inForce.Load().differs) }

// differences describes the settings that differ. It leaves out settings that only a newer version knows.
func differences(theirs, mine map[string]string) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		if value, known := theirs[name]; known && value != mine[name] {
			all = append(all, fmt.Sprintf("%s is %s, not %s", name, value, mine[name]))
		}
	}
	return all
}

// publishSettings writes this process's settings on the pool's record, once, unless they are there.
func (l *leader) publishSettings(ctx context.Context) error {
	if l.published {
		return nil
	}
	err := l.store.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil || maps.Equal(pool.Settings, l.cfg.Settings) {
			return err
		}
		pool.Settings = l.cfg.Settings
		pool.SettingsGeneration++
		return tx.Put(pool)
	})
	l.published = err == nil
	return err
}

// watchPool keeps up with the pool's record: whether its replicas live, and the settings in force. Once per generation of
// these, it logs how this process's own differ. A process that has just started logs nothing until it had the time to
// become the planner itself.
func (r *Replica) watchPool(ctx context.Context) {
	started, logged := time.Now(), 0
	loop.Every(ctx, watchInterval, func() {
		pool, err := store.ReadPool(ctx, r.cfg.Store)
		if err != nil {
			if ctx.Err() == nil {
				r.cfg.Failures.Report("cannot read the pool's settings", err)
			}
			return
		}
		if err := r.watchReplicas(ctx, pool.Replicas); err != nil && ctx.Err() == nil {
			r.cfg.Failures.Report("cannot look at the other replicas' leases", err)
		}
		now := r.settingsOf(pool)
		r.inForce.Store(now)
		if now.generation == logged || time.Since(started) < 2*Term {
			return
		}
		logged = now.generation
		if len(now.differs) > 0 {
			r.cfg.Logger.Warn("the planner of this pool is configured otherwise: what concerns the whole pool is in force as "+
				"the planner has it; Stats.ConfigDiffers says of which settings each process goes by its own",
				"generation", now.generation, "differ", now.differs)
		}
	})
}

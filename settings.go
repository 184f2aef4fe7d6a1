package berth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth/store"
)

// Several processes may share a pool and not be configured alike: while a new version is rolled out, or by mistake. What
// concerns the whole pool is then as the planner has it, which writes it on the pool's record. Most of it only the
// planner uses; the rest, the others take from the record.

// ruling is what a process knows of the planner's settings.
type ruling struct {
	generation    int      // 0 = nobody has planned yet
	maxContainers int      // MaxContainersPerRepository
	differs       []string // how they differ from this process's own
}

// settings are those that concern the whole pool, as they stand on its record, and some that are each process's own but
// should be the same in all: containers would differ by who starts them, and instances by who plans.
func (c *Config) settings() map[string]string {
	all := map[string]string{
		"MinInstances":             strconv.Itoa(c.MinInstances),
		"MaxInstances":             strconv.Itoa(c.MaxInstances),
		"MaxTasksPerInstance":      strconv.Itoa(c.MaxTasksPerInstance),
		"SpareSlots":               strconv.Itoa(c.SpareSlots),
		"InstanceType":             c.InstanceType,
		"InstanceIdleTimeout":      c.InstanceIdleTimeout.String(),
		"BootTimeout":              c.BootTimeout.String(),
		"MaxInstanceAge":           c.MaxInstanceAge.String(),
		"LaunchRate":               strconv.Itoa(c.LaunchRate),
		"SessionRetention":         c.SessionRetention.String(),
		maxContainersPerRepository: strconv.Itoa(c.MaxContainersPerRepository),

		"Image":              c.Image,
		"Limits":             setFields(c.Limits),
		"MirrorMaxAge":       c.MirrorMaxAge.String(),
		"MirrorBudget":       strconv.FormatInt(c.MirrorBudget, 10),
		"SessionIdleTimeout": c.SessionIdleTimeout.String(),
	}
	ec2 := c.EC2
	ec2.AWS = nil // which is each process's own
	sum := sha256.Sum256([]byte(setFields(ec2)))
	all["EC2"] = "of digest " + hex.EncodeToString(sum[:4]) // it is too long to be told itself
	return all
}

// setFields prints those fields of a struct that are set: a version that has one more prints the same, where nobody sets it.
func setFields(s any) string {
	var b strings.Builder
	for field, value := range reflect.ValueOf(s).Fields() {
		if !value.IsZero() {
			fmt.Fprintf(&b, "%s=%+v ", field.Name, value)
		}
	}
	return strings.TrimSpace(b.String())
}

const maxContainersPerRepository = "MaxContainersPerRepository"

// rule writes this process's settings on the pool's record, as its planner, once, unless they stand there.
func (r *reaper) rule(ctx context.Context) error {
	if r.ruled {
		return nil
	}
	mine := r.cfg.settings()
	err := r.update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil || maps.Equal(record.Settings, mine) {
			return err
		}
		record.Settings = mine
		record.SettingsGeneration++
		return tx.Put(record)
	})
	r.ruled = err == nil
	return err
}

// heedLoop keeps what is known of the pool's record: whether its replicas live, and the planner's settings. It logs, once
// per generation, how this process's own differ. One that has just started says nothing until it had the time to become
// the planner itself.
func (p *Provider) heedLoop() {
	started, told := time.Now(), 0
	every(p.ctx, heedInterval, func() {
		record, err := p.poolRecord(p.ctx)
		if err != nil {
			if p.ctx.Err() == nil {
				p.failed("cannot read the pool's settings", err)
			}
			return
		}
		if err := p.lookOn(p.ctx, record.Replicas); err != nil && p.ctx.Err() == nil {
			p.failed("cannot look at the other replicas' leases", err)
		}
		now := p.cfg.ruled(record)
		p.ruling.Store(now)
		if now.generation == told || time.Since(started) < 2*replicaTerm {
			return
		}
		told = now.generation
		if len(now.differs) > 0 {
			p.cfg.Logger.Warn("the planner of this pool is configured otherwise: what concerns the whole pool is in force as "+
				"the planner has it; images, limits, mirrors and idle timeouts are as each process has them",
				"generation", now.generation, "differ", now.differs)
		}
	})
}

// ruled returns what is in force by the pool's record.
func (c *Config) ruled(record *store.Pool) *ruling {
	return &ruling{
		generation: record.SettingsGeneration, maxContainers: c.maxContainers(record),
		differs: differences(record.Settings, c.settings()),
	}
}

// maxContainers is the MaxContainersPerRepository that is in force.
func (c *Config) maxContainers(record *store.Pool) int {
	if n, err := strconv.Atoi(record.Settings[maxContainersPerRepository]); err == nil && n >= 1 {
		return n
	}
	return c.MaxContainersPerRepository
}

// differences describes the settings that both know and that differ: one that only a newer version knows is its own matter.
func differences(theirs, mine map[string]string) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		if value, known := theirs[name]; known && value != mine[name] {
			all = append(all, fmt.Sprintf("%s is %s, not %s", name, value, mine[name]))
		}
	}
	return all
}

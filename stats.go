package berth

import (
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// Stats counts what this Provider has done since it was made. Other replicas count for themselves: add them up.
type Stats struct {
	Attached int64 // sessions that started in a running container
	Warm     int64 // sessions that started a container over a mirror that was there
	Cold     int64 // sessions that started with a clone
	Failed   int64 // creations that failed or whose caller gave up
	Ended    int64 // sessions ended, for whatever reason, expired ones included
	Expired  int64
	Errors   int64 // failed background work of the Provider itself; Pool and Containers count theirs

	// Events is how many events Config.OnEvent has not returned for yet.
	Events int

	// Planner: this process plans the pool now. Of all replicas, one does; for a while after its death, none.
	Planner bool
	// ConfigDiffers says how the settings of the pool's planner differ from this process's own: "MaxInstances is 5, not 3".
	// The planner's are in force, but for Image, Limits, SessionIdleTimeout and those of mirrors, which each process goes by.
	ConfigDiffers []string

	Pool       pool.Stats         // instances
	Containers orchestrator.Stats // containers
}

type counters struct {
	attached, warm, cold, failed, ended, expired, errors atomic.Int64
}

func (c *counters) started(kind string) {
	switch StartKind(kind) {
	case StartAttached:
		c.attached.Add(1)
	case StartWarm:
		c.warm.Add(1)
	default:
		c.cold.Add(1)
	}
}

// Stats returns a snapshot of the counts. It never blocks.
func (p *Provider) Stats() Stats {
	c := &p.stats
	return Stats{
		Attached: c.attached.Load(), Warm: c.warm.Load(), Cold: c.cold.Load(),
		Failed: c.failed.Load(), Ended: c.ended.Load(), Expired: c.expired.Load(), Errors: c.errors.Load(),
		Events:        p.events.waiting(),
		Planner:       p.plans.Load() != nil,
		ConfigDiffers: slices.Clone(p.ruling.Load().differs),
		Pool:          p.pool.Stats(), Containers: p.orch.Stats(),
	}
}

// failed logs and counts a failure of background work.
func (p *Provider) failed(what string, err error, args ...any) {
	if p.ctx.Err() != nil {
		return
	}
	p.stats.errors.Add(1)
	p.cfg.Logger.Warn(what, append(args, slog.Any("err", err))...)
}

// emit sends an event about a session.
func (p *Provider) emit(t EventType, s *store.Session, err error) {
	if p.cfg.OnEvent == nil {
		return
	}
	p.events.emit(Event{
		Type: t, SessionID: s.ID, TaskID: s.TaskID, UserID: s.UserID, Repository: s.SharingKey.Repository,
		Container: s.ContainerName, Instance: s.Instance, Start: StartKind(s.Start), Err: err,
	})
}

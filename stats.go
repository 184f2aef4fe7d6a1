package berth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth/internal/plain"
	"github.com/berth-go/berth/internal/replica"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/internal/warmth"
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
	Refused  int64 // sessions that UserLimits refused: see ErrQuota
	Ended    int64 // sessions ended, for any reason, including expired ones
	Expired  int64
	// Saved counts the ended sessions whose work Config.SaveWork has put somewhere, and Unsaved those with an ErrUnsaved.
	Saved, Unsaved int64
	// Prepared counts the sessions that began with a prepared workspace, and Unprepared those that began without although
	// Config.PrepareFor has one for their repository. Containers counts the workspaces.
	Prepared, Unprepared int64
	// OutOfMemory counts the EventOutOfMemory.
	OutOfMemory int64
	Errors      int64 // failed background work of the Provider itself; Pool and Containers count theirs

	// Empty is how many containers no session holds, as this process saw when it last looked as the planner; 0 otherwise. See
	// Config.ContainerIdleTimeout. KeptWarm is how many of these Config.Warm keeps up.
	Empty, KeptWarm int

	// Events is how many events Config.OnEvent has not returned for yet.
	Events int

	// Planner: this process plans the pool now. Of all replicas, one does; for a while after its death, none.
	Planner bool
	// ConfigDiffers says how the settings of the pool's planner differ from this process's own: "MaxInstances is 5, not 3".
	// The planner's are in force, except for these, of which each process goes by its own: Access, Caches, Devcontainer, Egress, Image, Limits,
	// MirrorBudget, MirrorMaxAge, RequireImageDigest, RequireIsolation, Runtime, SessionIdleTimeout, Sharing and UserLimits. Functions, such
	// as ImageFor, are not compared.
	ConfigDiffers []string

	Pool       pool.Stats         // instances
	Containers orchestrator.Stats // containers
}

// Stats returns a snapshot of the counts. It never blocks.
func (p *Provider) Stats() Stats {
	s := p.sessions.Stats()
	return Stats{
		Attached: s.Attached, Warm: s.Warm, Cold: s.Cold, Failed: s.Failed, Refused: p.queue.Refused(), Ended: s.Ended, Expired: s.Expired,
		Saved: p.events.kept.Load(), Unsaved: p.events.lost.Load(), Prepared: s.Prepared, Unprepared: s.Unprepared,
		OutOfMemory: p.events.outOfMemory.Load(), Errors: p.failures.Count(),
		Empty: p.warmth.Empty(), KeptWarm: p.warmth.Warmed(), Events: p.events.waiting(),
		Planner: p.replica.Planner() != nil, ConfigDiffers: p.replica.Differences(),
		Pool: p.pool.Stats(), Containers: p.containers.Stats(),
	}
}

// state is what metrics show of this process and, while it plans the pool, of the pool.
func (p *Provider) state() telemetry.State {
	sessions := p.sessions.Stats()
	s := telemetry.State{Sessions: map[store.SessionState]int64{
		store.SessionCreating: sessions.Creating, store.SessionTerminating: sessions.Ending,
	}}
	if sessions.Active >= 0 {
		s.Sessions[store.SessionActive] = sessions.Active
	}
	instances, containers := p.pool.Stats(), p.containers.Stats()
	s.Failures = map[string]int64{"provider": p.failures.Count(), "pool": instances.Errors, "containers": containers.Errors}
	s.Preparations, s.PrepareFailures = containers.Prepared, containers.PrepareFailures
	s.Starts = map[string]int64{"prepared": sessions.Prepared, "unprepared": sessions.Unprepared}
	s.Work = map[string]int64{"saved": p.events.kept.Load(), "unsaved": p.events.lost.Load()}
	s.Launches, s.LaunchFailures, s.ContainersLost = instances.Launches, instances.LaunchFailures, containers.ContainersLost
	s.Losses = map[string]int64{"lost": instances.InstancesLost, "interrupted": instances.Interruptions}
	census, planner := p.pool.Census()
	if s.Planner = planner; !planner {
		return s
	}
	s.Queue, _ = p.queue.Seen()
	s.Instances, s.Containers = census.Instances, p.containers.States()
	s.Slots = map[string]int64{
		telemetry.SlotUsed: census.Used, telemetry.SlotFree: census.Free, telemetry.SlotUnavailable: census.Unavailable,
	}
	s.Conditions = map[string]bool{
		"frozen": instances.Frozen != "", "cut_off": instances.CutOff, "list_doubted": instances.ListDoubted,
		"unknown_machines": instances.UnknownMachines > 0, "foreign": instances.Foreign > 0, "rival": instances.Rival,
	}
	return s
}

// healthTimeout bounds Health: who asks for it does not wait long.
const healthTimeout = 5 * time.Second

// Health returns nil if this process and the pool do all that they should. Otherwise the error joins all that is wrong. It
// matches
//
//   - ErrUnavailable: the store does not answer within 5 s, or it fails
//   - ErrSuspended: this process does not hold its lease, so that it may begin and end nothing
//   - ErrNoPlanner: this process has seen none that plans the pool for 15 s
//   - pool.ErrAuth: the cloud refuses the credentials, so that nothing is launched or ended. The process that plans knows it
//     at once, and the others while a session waits for an instance
//   - orchestrator.ErrUnreachable: so many instances do not answer at once that none is given up. The process that plans alone
//     knows it
//   - ErrDestroying: the pool takes no sessions; and ErrClosed, by itself
//
// Health costs one read of the store. A new process has its lease, and sees a planner, a moment after New.
//
// Use it for readiness: a process with ErrUnavailable, ErrSuspended or ErrClosed should get no requests. The others concern the
// pool, and so every process alike: answering requests, also with errors, is better than a service without any process, so
// alert on them. Do not use it for liveness: no restart mends a store, credentials or a network, and a restart ends the
// creations under way. A process is alive if it answers at all. docs/operations.md has an example.
func (p *Provider) Health(ctx context.Context) error {
	if err := p.calls.enter(); err != nil {
		return err
	}
	defer p.calls.leave()
	bounded, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	record, err := store.ReadPool(bounded, p.store)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		err = &storeError{fmt.Errorf("no answer within %v: %w", healthTimeout, err)}
	}
	faults := []error{err}
	if !p.replica.Member() {
		faults = append(faults, ErrSuspended)
	}
	if !p.replica.Planned() {
		faults = append(faults, ErrNoPlanner)
	}
	found := p.pool.Stats()
	frozen := found.Frozen
	if err == nil {
		frozen = cmp.Or(frozen, pool.Refusal(record))
	}
	if err == nil && record.Closed {
		faults = append(faults, ErrDestroying)
	}
	if frozen != "" {
		faults = append(faults, refusal(frozen))
	}
	if found.CutOff {
		faults = append(faults, fmt.Errorf("many instances do not answer at once: %w", orchestrator.ErrUnreachable))
	}
	if err = errors.Join(faults...); err == nil {
		return nil
	}
	return plain.Error(fmt.Errorf("berth: unhealthy: %w", err))
}

// refusal is a pool.ErrAuth with the cloud's own words.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) Unwrap() error   { return pool.ErrAuth }

// UsageQuery selects a part of the bill. Its zero value is all that is kept, in one sum.
type UsageQuery struct {
	From, To time.Time // the hours that begin before To and end after From; zero = no bound
	By       UsageBy
	Label    string // with UsageByLabel: one of Config.UsageLabels
}

// UsageBy says what the parts of a bill have in common.
type UsageBy string

// The ways to divide a bill.
const (
	UsageTotal        UsageBy = ""
	UsageByRepository UsageBy = "repository"
	UsageByUser       UsageBy = "user"
	UsageByLabel      UsageBy = "label" // by the value of one label
	UsageByDay        UsageBy = "day"   // of UTC
)

// Usage is one part of the bill. Used, Warm and Idle of all parts add up to the time for which the cloud bills machines.
type Usage struct {
	// Key is the repository, the user, the value of the label, or the day as in 2026-11-30. It is empty for time that belongs to none,
	// such as idle time, for sessions without the label, and for UsageTotal.
	Key string

	Used time.Duration // machine time of sessions: each has one part in as many as its instance has slots
	Warm time.Duration // machine time of containers that no session holds: each has one part, as a session has. It has no user
	Idle time.Duration // all other machine time

	Sessions time.Duration       // for which sessions held a slot
	Starts   map[StartKind]int64 // sessions that became active
	// Saved is how much less time starts took than the last cold one of their sharing key. A start counts as long as it took
	// after the session left the queue.
	Saved time.Duration

	USD      float64       // of Used, Warm and Idle, as far as Config.PricePerHour knew prices
	Unpriced time.Duration // the part of Used, Warm and Idle without a known price
}

// Usage returns the bill by q.By, ordered by Key. Every second that the cloud bills is accounted once, as docs/usage.md says, by
// the process that plans: a minute or two late, and later while none does. UsageThrough says how far. Rows are hours: a
// query begins and ends with whole hours of UTC. ErrInvalid: q asks for a label that is not kept.
func (p *Provider) Usage(ctx context.Context, q UsageQuery) iter.Seq2[Usage, error] {
	return func(yield func(Usage, error) bool) {
		key, err := usageKey(q, p.cfg.UsageLabels)
		if err != nil {
			yield(Usage{}, err)
			return
		}
		sums := make(map[string]*Usage)
		for row, err := range store.All(paged(ctx, p, func(v store.View, page store.Page) ([]*store.Usage, error) {
			return v.Usage(store.UsageQuery{From: q.From, To: q.To, Page: page})
		})) {
			if err != nil {
				yield(Usage{}, err)
				return
			}
			k := key(row)
			if sums[k] == nil {
				sums[k] = &Usage{Key: k, Starts: make(map[StartKind]int64)}
			}
			sums[k].add(row)
		}
		for _, k := range slices.Sorted(maps.Keys(sums)) {
			if !yield(*sums[k], nil) {
				return
			}
		}
	}
}

// usageKey returns the function that divides rows as a query asks. labels are those that are kept.
func usageKey(q UsageQuery, labels []string) (func(*store.Usage) string, error) {
	switch q.By {
	case UsageTotal:
		return func(*store.Usage) string { return "" }, nil
	case UsageByRepository:
		return func(r *store.Usage) string { return r.Repo }, nil
	case UsageByUser:
		return func(r *store.Usage) string { return r.User }, nil
	case UsageByDay:
		return func(r *store.Usage) string { return r.Hour().Format(time.DateOnly) }, nil
	case UsageByLabel:
		if !slices.Contains(labels, q.Label) {
			return nil, &FieldError{Field: "UsageQuery.Label", Reason: fmt.Sprintf("%q is not in Config.UsageLabels", q.Label)}
		}
		return func(r *store.Usage) string { return r.Label(q.Label) }, nil
	}
	return nil, &FieldError{Field: "UsageQuery.By", Reason: fmt.Sprintf("%q is not known", q.By)}
}

func (u *Usage) add(r *store.Usage) {
	micro := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	u.Used += micro(r.Used)
	u.Warm += micro(r.Warm)
	u.Idle += micro(r.Idle)
	u.Sessions += micro(r.Held)
	u.Saved += micro(r.Saved)
	u.Unpriced += micro(r.Unpriced)
	u.USD += float64(r.Cost) / 1e9
	for kind, n := range map[StartKind]int64{StartAttached: r.Attached, StartWarm: r.WarmStarts, StartCold: r.Cold} {
		if n > 0 {
			u.Starts[kind] += n
		}
	}
}

// UsageThrough returns the time until which the bill of all machines is complete. Zero = no machine is being billed: then
// the bill is complete.
func (p *Provider) UsageThrough(ctx context.Context) (time.Time, error) {
	if err := p.calls.enter(); err != nil {
		return time.Time{}, err
	}
	defer p.calls.leave()
	ledger, err := store.Read[*store.Ledger](ctx, p.store, store.LedgerKey())
	if through, billed := ledger.Through(); billed {
		return through, err
	}
	return time.Time{}, err
}

// settings are the settings that concern the whole pool, as they are written on its record, and some of each process that
// should be the same in all. Otherwise containers would differ by the process that starts them.
func (c *Config) settings() map[string]string {
	all := map[string]string{
		"MinInstances":        strconv.Itoa(c.MinInstances),
		"MaxInstances":        strconv.Itoa(c.MaxInstances),
		"MaxTasksPerInstance": strconv.Itoa(c.MaxTasksPerInstance),
		"SpareSlots":          strconv.Itoa(c.SpareSlots),
		"InstanceType":        c.InstanceType,
		"InstanceIdleTimeout": c.InstanceIdleTimeout.String(),
		"BootTimeout":         c.BootTimeout.String(),
		"MaxInstanceAge":      c.MaxInstanceAge.String(),
		"LaunchRate":          strconv.Itoa(c.LaunchRate),
		"SessionRetention":    c.SessionRetention.String(),
		"UsageRetention":      c.UsageRetention.String(),
		"SnapshotRetention":   setFields(c.SnapshotRetention),
		"UsageLabels":         strings.Join(c.UsageLabels, " "),
		replica.MaxContainers: strconv.Itoa(c.MaxContainersPerRepository),

		replica.ContainerIdleTimeout: c.ContainerIdleTimeout.String(),
		warmth.Setting:               c.Warm.budget().String(),
		"Warm.Refresh":               c.Warm.Refresh.String(),

		"Image":              c.Image,
		"Limits":             setFields(c.Limits),
		"RequireIsolation":   strconv.FormatBool(c.RequireIsolation),
		"RequireImageDigest": strconv.FormatBool(c.RequireImageDigest),
		"Runtime":            c.Runtime,
		"Egress":             setFields(c.Egress),
		"Caches":             c.cachesSetting(),
		"Devcontainer":       strconv.FormatBool(c.Devcontainer),
		"MirrorMaxAge":       c.MirrorMaxAge.String(),
		"MirrorBudget":       strconv.FormatInt(c.MirrorBudget, 10),
		"SessionIdleTimeout": c.SessionIdleTimeout.String(),
		"UserLimits":         setFields(c.UserLimits),
		"Sharing":            c.Sharing.String(),
		"Access":             c.Access.String(),
	}
	ec2 := c.EC2
	ec2.AWS = nil // which is each process's own
	sum := sha256.Sum256([]byte(setFields(ec2)))
	all["EC2"] = "of digest " + hex.EncodeToString(sum[:4]) // it is too long to be shown
	return all
}

// cachesSetting names the caches; their commands may be long. "" = there are none.
func (c *Config) cachesSetting() string {
	if len(c.Caches) == 0 {
		return ""
	}
	var names []string
	for _, one := range c.Caches {
		names = append(names, one.Name)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", c.Caches))
	return strings.Join(names, " ") + " of digest " + hex.EncodeToString(sum[:4])
}

// setFields prints the fields of a struct that are set. A version that has one more field prints the same while that is not
// set.
func setFields(s any) string {
	var b strings.Builder
	for field, value := range reflect.ValueOf(s).Fields() {
		if !value.IsZero() {
			fmt.Fprintf(&b, "%s=%+v ", field.Name, value)
		}
	}
	return strings.TrimSpace(b.String())
}

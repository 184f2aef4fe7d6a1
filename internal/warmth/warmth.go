// Package warmth keeps containers that no session holds, for as long as they are wanted and nothing else needs their room.
//
// An instance lists its empty containers. The step that ends the last session of a container puts it on the list, and the step
// that places a session takes it off: see package orchestrator. What is left is to give up those whose time is over, which
// the process that plans the pool does. It also brings up containers before a session needs them: those that hosts want, and
// those that will be wanted most, by what the pool has learned of its use.
package warmth

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/internal/demand"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Config configures a Keeper. All fields are required, except that Timeout and Budget may be zero.
type Config struct {
	Replica    string // this process, as records name it
	Store      store.Store
	Retry      store.Retry // over Store
	Containers *orchestrator.Manager
	Timeout    time.Duration // for which an empty container stays; negative = until its room is needed
	Budget     Budget        // of containers that are kept warm
	Refresh    time.Duration // how often the mirror of a warm container is fetched that no session holds; negative = never
	// Source returns what is asked for the credential of a container's fetches, if Warm was called without one; nil = nothing is
	Source func(*store.Container) *orchestrator.Source
	// MaxContainers returns how many containers a sharing key may have, by the pool's record
	MaxContainers func(*store.Pool) int
	Context       context.Context              // of the background work; ends with the Provider
	Go            func(func())                 // runs a function in a goroutine that Close of the Provider waits for
	OnWarm        func(store.Container, error) // a container is up as a host wants it, or why it is not; must not block
	Failures      *loop.Failures
}

// A Keeper looks after the empty containers of one pool. All methods are safe for concurrent use.
type Keeper struct {
	cfg   Config
	look  loop.Signal  // look now
	empty atomic.Int64 // see Empty
	warm  atomic.Int64 // see Warmed
	tries tries
}

// New returns a Keeper that does nothing yet.
func New(cfg Config) *Keeper { return &Keeper{cfg: cfg, look: loop.NewSignal()} }

// Wake makes Lead look now: an instance may take no sessions any more. It never blocks.
func (k *Keeper) Wake() { k.look.Set() }

// Empty returns how many containers had no session when Lead looked last; 0 while this process does not lead.
func (k *Keeper) Empty() int { return int(k.empty.Load()) }

// Warmed returns how many of these a host wants to be warm.
func (k *Keeper) Warmed() int { return int(k.warm.Load()) }

// Lead looks this often, and less often while no container may stay empty. Between two looks is at least leastPause: each reads
// all instances.
const (
	interval     = 5 * time.Second
	restInterval = time.Minute
	leastPause   = time.Second
)

// Lead gives up empty containers whose time is over, or whose instance takes no sessions any more, until ctx ends. It runs
// under the planner's lease.
func (k *Keeper) Lead(ctx context.Context, held store.Lease) {
	l := &leader{Keeper: k, fenced: store.Fenced(k.cfg.Store, held), seen: make(map[listed]time.Time), fetched: make(map[string]time.Time)}
	defer k.empty.Store(0)
	defer k.warm.Store(0)
	for ctx.Err() == nil {
		if err := l.tend(ctx); err != nil && ctx.Err() == nil {
			k.cfg.Failures.Report("cannot look after the empty containers", err)
		}
		pause, wake := interval, k.look.C()
		if k.cfg.Timeout == 0 && k.cfg.Budget.Containers == 0 && len(l.seen) == 0 {
			pause, wake = restInterval, nil // what happens in the pool is of no interest
		}
		if loop.Sleep(ctx, leastPause) == nil {
			_ = loop.Wait(ctx, pause-leastPause, wake) // the loop's condition sees the end of ctx
		}
	}
}

// listed is one stay of a container on the list of its instance.
type listed struct {
	container string
	since     time.Time
}

// leader is a Keeper that works under the planner's lease.
type leader struct {
	*Keeper
	fenced  store.Store          // by that lease
	seen    map[listed]time.Time // when this process first saw each, by its own clock
	asked   map[asked]time.Time  // the same of the wishes
	fetched map[string]time.Time // when this process last began to fetch for the container of a wish because of its age
	// ranked are the sharing keys by what a warm container of each is worth, as of rankedAt
	ranked   []demand.Wanted
	rankedAt time.Time
	most     int // containers of a sharing key
}

// tend makes one look.
func (l *leader) tend(ctx context.Context) error {
	pool, instances, err := l.read(ctx, l.fenced)
	if err != nil {
		return err
	}
	now := time.Now()
	l.most = l.cfg.MaxContainers(pool)
	l.note(instances, now)
	for _, d := range plan(pool, instances, l.seen, l.cfg.Timeout, now) {
		if err := l.giveUp(ctx, l.fenced.Update, d); err != nil {
			return err
		}
	}
	if pool.Closed {
		return nil
	}
	if err := l.learn(ctx); err != nil {
		return err
	}
	return l.bringAll(ctx)
}

// note records which containers are empty.
func (l *leader) note(instances []*store.Instance, now time.Time) {
	seen, warm := make(map[listed]time.Time), 0
	for _, in := range instances {
		for _, e := range in.Empties {
			at := listed{e.Container, e.Since}
			first, known := l.seen[at]
			if !known {
				first = now
			}
			seen[at] = first
			if e.WarmUntil.After(now) {
				warm++
			}
		}
	}
	l.seen = seen
	l.empty.Store(int64(len(seen)))
	l.warm.Store(int64(warm))
}

// read returns the pool's record, and the instances that have empty containers.
func (k *Keeper) read(ctx context.Context, st store.Store) (pool *store.Pool, instances []*store.Instance, err error) {
	err = st.View(ctx, func(v store.View) (err error) {
		instances = nil
		if pool, err = store.Get[*store.Pool](v, store.PoolKey()); err != nil {
			return err
		}
		for in, err := range store.All(func(page store.Page) ([]*store.Instance, error) {
			return v.Instances(store.InstanceQuery{Page: page})
		}) {
			if err != nil {
				return err
			}
			if len(in.Empties) > 0 {
				instances = append(instances, in)
			}
		}
		return nil
	})
	return pool, instances, err
}

// due are empty containers of one instance that are to be given up.
type due struct {
	instance string
	empties  []store.Empty
}

// plan decides which empty containers are given up. seen says when this process first saw each. A container's time is over
// when either clock says so: that of the process which emptied it may be behind.
func plan(pool *store.Pool, instances []*store.Instance, seen map[listed]time.Time, timeout time.Duration, now time.Time) (all []due) {
	for _, in := range instances {
		d := due{instance: in.ID}
		for _, e := range in.Empties {
			age := max(now.Sub(e.Since), now.Sub(seen[listed{e.Container, e.Since}]))
			if pool.Closed || !orchestrator.TakesEmpty(in) || timeout >= 0 && age >= timeout && !e.WarmUntil.After(now) {
				d.empties = append(d.empties, e)
			}
		}
		if len(d.empties) > 0 {
			all = append(all, d)
		}
	}
	return all
}

// giveUp gives up empty containers, unless a session has joined them since.
func (k *Keeper) giveUp(ctx context.Context, update func(context.Context, []store.Key, func(store.Tx) error) error, d due) error {
	var gaveUp []*store.Container
	keys := []store.Key{store.InstanceKey(d.instance)}
	for _, e := range d.empties {
		keys = append(keys, store.ContainerKey(e.Container))
	}
	err := update(ctx, keys, func(tx store.Tx) error {
		gaveUp = nil
		in, err := store.Find[*store.Instance](tx, keys[0])
		if err != nil || in == nil {
			return err
		}
		for _, e := range d.empties {
			if !lists(in, e) {
				continue
			}
			c, err := orchestrator.GiveUp(tx, e.Container, k.cfg.Replica, time.Now())
			if err == nil && c == nil { // a process of an older version does not keep the list
				err = store.UnlistEmpty(tx, in.ID, e.Container)
			}
			if err != nil {
				return err
			}
			if c != nil {
				gaveUp = append(gaveUp, c)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	k.remove(gaveUp)
	return nil
}

// remove begins to remove containers that a transaction has given up. Those of other replicas are theirs to remove.
func (k *Keeper) remove(gaveUp []*store.Container) {
	for _, c := range gaveUp {
		if c.Owner == k.cfg.Replica {
			k.cfg.Containers.Resume(c)
		}
	}
}

// lists reports whether an instance still lists an empty container, and for the same stay.
func lists(in *store.Instance, e store.Empty) bool {
	for _, now := range in.Empties {
		if now.Container == e.Container && now.Since.Equal(e.Since) {
			return true
		}
	}
	return false
}

// Clear gives up all empty containers of a pool that takes no sessions any more, and forgets what hosts want. They may be there for a moment when it
// returns. Any process may call it.
func (k *Keeper) Clear(ctx context.Context) error {
	if err := k.forgetWishes(ctx); err != nil {
		return err
	}
	_, instances, err := k.read(ctx, k.cfg.Store)
	if err != nil {
		return err
	}
	for _, in := range instances {
		if err := k.giveUp(ctx, k.cfg.Retry.Update, due{in.ID, in.Empties}); err != nil {
			return err
		}
	}
	return nil
}

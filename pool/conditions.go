package pool

import (
	"context"
	"fmt"
	"slices"

	"github.com/berth-go/berth/store"
)

// conditions are what an operator should know of the whole pool.
type conditions struct {
	refused          string // why the cloud refuses the credentials; "" = it accepts them
	cutOff, doubtful bool   // see snapshot
	unknown, foreign int    // machines; see Stats
	rival            bool   // see Stats
}

// logConditions logs which conditions of the pool have changed since they were logged.
func (r *run) logConditions() {
	r.mu.Lock()
	before, after := r.logged, r.conditions
	r.logged = after
	r.mu.Unlock()
	log := r.cfg.Logger
	switch {
	case after.refused != "" && before.refused == "":
		log.Error("the cloud refuses the credentials: nothing is launched or ended except for a try now and then", "err", after.refused)
	case after.refused == "" && before.refused != "":
		log.Info("the cloud accepts the credentials again")
	}
	switch {
	case after.cutOff && !before.cutOff:
		log.Error("many instances do not answer: this process may be cut off, and none is given up for that alone")
	case before.cutOff && !after.cutOff:
		log.Info("enough instances answer again")
	}
	switch {
	case after.doubtful && !before.doubtful:
		log.Error("the cloud's list lacks many instances at once: it may be that of another account or region, and nothing is concluded from it")
	case before.doubtful && !after.doubtful:
		log.Info("the cloud's list is believed again")
	}
	switch {
	case after.foreign == 0 || before.foreign > 0:
	case r.cfg.ForeignGrace > 0 && !after.rival:
		log.Warn("machines carry this pool's name and the identity of another store: they are ended after ForeignGrace",
			"machines", after.foreign, "grace", r.cfg.ForeignGrace)
	default:
		log.Warn("machines carry this pool's name and the identity of another store: they are left alone, and end themselves "+
			"if they have a dead man's switch. If that store is lost, end them by hand, or let ForeignGrace (EC2Config.EndForeignAfter) do so",
			"machines", after.foreign)
	}
	if after.rival && !before.rival && r.cfg.ForeignGrace > 0 {
		log.Error("another store that is in use launches machines with this pool's name: none of them is ended, in spite of ForeignGrace. " +
			"Give each pool a name of its own")
	}
	if after.unknown > 0 && before.unknown == 0 {
		log.Warn("no record knows some machines of this pool: they are ended after OrphanGrace", "machines", after.unknown)
	}
}

// words says what is wrong with the pool, for other processes.
func (c conditions) words(cfg Config) (all []string) {
	if c.refused != "" {
		all = append(all, "the cloud refuses the credentials, so that nothing is launched or ended: "+cleanTail(c.refused))
	}
	if c.cutOff {
		all = append(all, "many instances do not answer at once, so that none is given up for that")
	}
	if c.doubtful {
		all = append(all, "the cloud's list lacks many instances at once, so that nothing is concluded from it")
	}
	if c.unknown > 0 {
		all = append(all, fmt.Sprintf("no record knows %d of the pool's machines, which are ended after OrphanGrace", c.unknown))
	}
	switch {
	case c.rival:
		all = append(all, "another store that is in use launches machines with this pool's name")
	case c.foreign > 0 && cfg.ForeignGrace <= 0:
		all = append(all, fmt.Sprintf("%d machines carry this pool's name and the identity of another store, and are left alone", c.foreign))
	case c.foreign > 0:
		all = append(all, fmt.Sprintf("%d machines carry this pool's name and the identity of another store, and are ended after ForeignGrace", c.foreign))
	}
	return all
}

// storeConditions writes down what is wrong with the pool, when that has changed: other processes show it, too.
func (r *run) storeConditions(ctx context.Context, s *snapshot) {
	r.mu.Lock()
	now := r.conditions.words(r.cfg)
	r.mu.Unlock()
	if slices.Equal(now, s.pool.Conditions) {
		return
	}
	err := r.store.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil || slices.Equal(now, pool.Conditions) {
			return err
		}
		pool.Conditions = now
		return tx.Put(pool)
	})
	if err != nil {
		r.failures.Report("cannot store what is wrong with the pool", err)
	}
}

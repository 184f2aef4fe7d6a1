package warmth

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/berth-go/berth/internal/demand"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// The planner has wishes of its own: for the sharing keys for which a container that stays up saves most, by internal/demand. They
// come after those of hosts, and have what these leave of the budget. They are for keys whose containers no session holds: a
// container with sessions is up without any wish, unless its instance is full and the key may have one more. When its last session has left, it stays for Config.ContainerIdleTimeout, and the
// planner decides meanwhile.

const (
	// learnedFor is how long a wish of the planner lasts. The planner renews it at half that time.
	learnedFor = time.Hour
	// inertia is how much more a key counts that has a wish already, so that two of the same worth do not take turns.
	inertia = 1.25
	// mostLooked bounds the keys whose containers are looked at.
	mostLooked = 200
	// rankInterval is how often keys are ranked. The record that they are ranked by changes about as often.
	rankInterval = time.Minute
)

// learn brings the planner's own wishes up to date.
func (l *leader) learn(ctx context.Context) error {
	now := time.Now()
	var chosen []demand.Wanted
	differs := false
	err := l.fenced.View(ctx, func(v store.View) error {
		if err := l.rank(v, now); err != nil {
			return err
		}
		w, err := wishes(v)
		if err != nil {
			return err
		}
		chosen, differs, err = l.choose(v, w, now)
		return err
	})
	if err != nil || !differs {
		return err
	}
	var gaveUp []*store.Container
	err = l.fenced.Update(ctx, []store.Key{store.WarmthKey()}, func(tx store.Tx) error {
		w, err := wishes(tx)
		if err != nil {
			return err
		}
		if err := w.setLearned(tx, chosen, now); err != nil {
			return err
		}
		gaveUp, err = l.adopt(tx, w, now)
		if err != nil {
			return err
		}
		return w.put(tx)
	})
	if err != nil {
		return err
	}
	l.remove(gaveUp)
	return nil
}

// rank ranks the keys, if that was not done just now.
func (l *leader) rank(r store.Getter, now time.Time) error {
	if l.cfg.Budget.Containers == 0 || !l.rankedAt.IsZero() && now.Sub(l.rankedAt) < rankInterval {
		return nil
	}
	d, err := store.Find[*store.Demand](r, store.DemandKey())
	if err != nil {
		return err
	}
	l.rankedAt, l.ranked = now, nil
	if d != nil {
		l.ranked = demand.Rank(d, now)
	}
	return nil
}

// choose decides for which keys there are wishes of the planner, the best first. differs says that the record has to be changed.
func (l *leader) choose(r store.Getter, w list, now time.Time) (chosen []demand.Wanted, differs bool, err error) {
	own, hosts, room := make(map[string]store.WarmWish), make(map[string]bool), l.cfg.Budget.Containers
	for _, x := range w.Wishes {
		if x.Learned {
			own[x.Name] = x
		} else {
			hosts[x.Name] = true
			room--
		}
	}
	for _, k := range ordered(l.ranked, own) {
		if len(chosen) >= room {
			break
		}
		if hosts[k.Name] {
			continue
		}
		possible, empty, err := l.possible(r, k.Name, now)
		if err != nil {
			return nil, false, err
		}
		if !possible {
			continue
		}
		x, known := own[k.Name]
		differs = differs || !known || x.Until.Sub(now) < learnedFor/2 || empty && x.Container == ""
		delete(own, k.Name)
		chosen = append(chosen, k)
	}
	return chosen, differs || len(own) > 0, nil
}

// ordered returns the first of the ranked keys, with those before that have a wish already and are worth about as much.
func ordered(ranked []demand.Wanted, own map[string]store.WarmWish) []demand.Wanted {
	all := slices.Clone(ranked)
	for i := range all {
		if _, known := own[all[i].Name]; known {
			all[i].Worth *= inertia
		}
	}
	slices.SortStableFunc(all, func(a, b demand.Wanted) int { return cmp.Compare(b.Worth, a.Worth) })
	return all[:min(len(all), mostLooked)]
}

// possible reports whether the planner may wish for a container of a name: no session holds one that the next session could join, and
// one is empty, or another may be made and none has just failed to start.
func (l *leader) possible(r store.Getter, name string, now time.Time) (possible, empty bool, err error) {
	sharing, err := store.Find[*store.Sharing](r, store.SharingKey(name))
	if err != nil {
		return false, false, err
	}
	joinable := 0
	if sharing != nil {
		for _, id := range sharing.Containers {
			c, in, err := store.FindContainer(r, id)
			if err != nil {
				return false, false, err
			}
			if !orchestrator.Joinable(c, in) {
				continue
			}
			if c.Sessions > 0 && pool.HasSlot(in) {
				return false, false, nil
			}
			joinable++
			empty = empty || c.Sessions == 0 && orchestrator.TakesEmpty(in)
		}
	}
	return empty || joinable < l.most && !l.tries.paused(name, now), empty, nil
}

// setLearned makes the wishes of the planner those for chosen keys, and renews them. The best is the last one, and all are before
// those of hosts.
func (w list) setLearned(tx store.Tx, chosen []demand.Wanted, now time.Time) error {
	own := make(map[string]store.WarmWish)
	var hosts, learned []store.WarmWish
	for _, x := range w.Wishes {
		if x.Learned {
			own[x.Name] = x
		} else {
			hosts = append(hosts, x)
		}
	}
	for _, k := range slices.Backward(chosen) {
		if slices.ContainsFunc(hosts, func(x store.WarmWish) bool { return x.Name == k.Name }) {
			continue // a host has asked for it meanwhile
		}
		x, known := own[k.Name]
		delete(own, k.Name)
		if !known {
			x = store.WarmWish{Name: k.Name, SharingKey: k.SharingKey, Learned: true}
		}
		x.Remote = k.Remote
		if x.Until.Sub(now) < learnedFor/2 {
			x.Asked, x.Until = now, now.Add(learnedFor)
			if err := extend(tx, x); err != nil {
				return err
			}
		}
		learned = append(learned, x)
	}
	for _, x := range w.Wishes { // in their order, so that each run of the transaction does the same
		if _, left := own[x.Name]; left && x.Learned {
			if err := release(tx, &x); err != nil {
				return err
			}
		}
	}
	w.Wishes = append(learned, hosts...)
	return nil
}

// extend tells a wish's container until when it is wanted.
func extend(tx store.Tx, x store.WarmWish) error {
	c, err := store.Find[*store.Container](tx, store.ContainerKey(x.Container))
	if x.Container == "" || err != nil || c == nil || c.State == store.ContainerStopping {
		return err
	}
	return orchestrator.SetWarm(tx, c, x.Until)
}

// adopt gives wishes of the planner the empty containers that are there, before their time is over.
func (l *leader) adopt(tx store.Tx, w list, now time.Time) (gaveUp []*store.Container, err error) {
	for i := range w.Wishes {
		if x := &w.Wishes[i]; x.Learned && x.Container == "" {
			g := &granting{tx: tx, w: w, wish: x, budget: l.cfg.Budget, most: l.most, now: now}
			if _, _, err := g.grant(l.Keeper, nil, ""); err != nil {
				return nil, err
			}
			gaveUp = append(gaveUp, g.gaveUp...)
		}
	}
	return gaveUp, nil
}

package warmth

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// MaxWishes bounds how many wishes a pool remembers. The oldest ones are forgotten.
const MaxWishes = 1000

// Ask is what a host asks for.
type Ask struct {
	Key        naming.Key
	Name       string // of the key's container
	Remote     string // without a credential
	Branch     string
	Until      time.Time
	Credential orchestrator.Credential // for the fetch that follows; kept in memory until that has ended
}

// Warm stores a wish, in place of an earlier one of the same sharing key, and begins to fulfil it. It returns when the wish is
// stored. ErrDestroying: the pool is being destroyed.
func (k *Keeper) Warm(ctx context.Context, a Ask) error {
	err := k.cfg.Retry.Update(ctx, []store.Key{store.PoolKey(), store.WarmthKey()}, func(tx store.Tx) error {
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		if record.Closed {
			return fmt.Errorf("%w; when that is done, New opens it again", errs.ErrDestroying)
		}
		w, err := wishes(tx)
		if err != nil {
			return err
		}
		wish := store.WarmWish{Name: a.Name, SharingKey: a.Key}
		if i := w.index(a.Name); i >= 0 {
			wish = w.Wishes[i]
			w.Wishes = slices.Delete(w.Wishes, i, i+1)
		}
		wish.Remote, wish.Branch, wish.Asked, wish.Until, wish.Learned = a.Remote, a.Branch, time.Now(), a.Until, false
		w.Wishes = append(w.Wishes, wish)
		for len(w.Wishes) > MaxWishes {
			if err := release(tx, &w.Wishes[0]); err != nil {
				return err
			}
			w.Wishes = w.Wishes[1:]
		}
		return tx.Put(w.Warmth)
	})
	if err == nil {
		k.bring(a.Name, a.Credential, called)
	}
	return err
}

// Cool takes a host's wish back. Without one it does nothing. The container stays as long as one that no host wanted.
func (k *Keeper) Cool(ctx context.Context, name string) error {
	err := k.cfg.Retry.Update(ctx, []store.Key{store.WarmthKey()}, func(tx store.Tx) error {
		w, err := wishes(tx)
		if err != nil {
			return err
		}
		i := w.index(name)
		if i < 0 || w.Wishes[i].Learned {
			return nil
		}
		if err := release(tx, &w.Wishes[i]); err != nil {
			return err
		}
		w.Wishes = slices.Delete(w.Wishes, i, i+1)
		return w.put(tx)
	})
	k.Wake()
	return err
}

// forgetWishes takes all wishes back.
func (k *Keeper) forgetWishes(ctx context.Context) error {
	return k.cfg.Retry.Update(ctx, []store.Key{store.WarmthKey()}, func(tx store.Tx) error {
		w, err := wishes(tx)
		for i := range w.Wishes {
			if err == nil {
				err = release(tx, &w.Wishes[i])
			}
		}
		if err != nil {
			return err
		}
		return tx.Delete(w.Key())
	})
}

// list is the record of wishes in a transaction.
type list struct{ *store.Warmth }

func wishes(r store.Getter) (list, error) {
	w, err := store.Find[*store.Warmth](r, store.WarmthKey())
	if w == nil {
		w = &store.Warmth{}
	}
	return list{w}, err
}

// index returns the index of a container name's wish; negative = there is none.
func (w list) index(name string) int {
	return slices.IndexFunc(w.Wishes, func(x store.WarmWish) bool { return x.Name == name })
}

// put stores the record, or deletes it if it lists nothing.
func (w list) put(tx store.Tx) error {
	if len(w.Wishes) == 0 {
		return tx.Delete(w.Key())
	}
	return tx.Put(w.Warmth)
}

// release takes a wish's part of the budget back. The caller puts the record of wishes.
func release(tx store.Tx, wish *store.WarmWish) error {
	id := wish.Container
	wish.Container, wish.Instance = "", ""
	c, err := store.Find[*store.Container](tx, store.ContainerKey(id))
	if id == "" || err != nil || c == nil || c.State == store.ContainerStopping {
		return err
	}
	return orchestrator.SetWarm(tx, c, time.Time{})
}

// granting is one transaction that gives a wish its container and its part of the budget.
type granting struct {
	tx     store.Tx
	w      list
	wish   *store.WarmWish
	budget Budget
	most   int      // containers of a sharing key
	taken  []string // instances that have a container of the key
	now    time.Time
	gaveUp []*store.Container // that are to be removed
}

// grant finds or makes the container of a wish, within the budget. The result is nil if there is none now: no instance has
// room, newer wishes have the budget, a container is just being removed, or the wish is over. made says that this process is
// to start it.
func (k *Keeper) grant(ctx context.Context, name string) (c *store.Container, wish store.WarmWish, made bool, err error) {
	var candidates []string
	some := false // containers of the key
	err = k.cfg.Store.View(ctx, func(v store.View) error {
		sharing, err := store.Find[*store.Sharing](v, store.SharingKey(name))
		if err != nil {
			return err
		}
		some = sharing != nil && len(sharing.Containers) > 0
		candidates, err = roomy(v, sharing)
		return err
	})
	if err != nil || !some && len(candidates) == 0 {
		return nil, wish, false, err
	}
	id := orchestrator.NewContainerID()
	var gaveUp []*store.Container
	err = k.cfg.Retry.Update(ctx, []store.Key{store.PoolKey(), store.WarmthKey(), store.SharingKey(name)}, func(tx store.Tx) error {
		c, made, gaveUp = nil, false, nil
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		budget := k.cfg.Budget.inForce(record)
		if record.Closed || budget.Containers == 0 {
			return nil
		}
		w, err := wishes(tx)
		i := w.index(name)
		now := time.Now()
		if err != nil || i < 0 || !w.Wishes[i].Until.After(now) {
			return err
		}
		was := slices.Clone(w.Wishes)
		g := &granting{tx: tx, w: w, wish: &w.Wishes[i], budget: budget, most: k.cfg.MaxContainers(record), now: now}
		if c, made, err = g.grant(k, candidates, id); err != nil {
			return err
		}
		wish, gaveUp = *g.wish, g.gaveUp
		if slices.Equal(was, w.Wishes) {
			return nil
		}
		return tx.Put(w.Warmth)
	})
	if err != nil {
		return nil, wish, false, err
	}
	k.remove(gaveUp)
	return c, wish, made, nil
}

// roomy returns the instances on which a container may be made, the best first.
func roomy(v store.View, sharing *store.Sharing) (ids []string, err error) {
	all, err := pool.Candidates(v, sharing)
	if err != nil {
		return nil, err
	}
	for _, id := range all {
		in, err := store.Find[*store.Instance](v, store.InstanceKey(id))
		if err != nil {
			return nil, err
		}
		if orchestrator.HasRoom(in) {
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		return ids, nil
	}
	// The fullest instances may have the most empty containers.
	more, err := v.Instances(store.InstanceQuery{Placeable: true, Page: store.Page{Limit: store.MaxLimit}})
	for _, in := range more {
		if orchestrator.HasRoom(in) {
			ids = append(ids, in.ID)
		}
	}
	return ids, err
}

// grant is the step of the transaction. It may change other wishes.
func (g *granting) grant(k *Keeper, candidates []string, id string) (c *store.Container, made bool, err error) {
	if err := g.forgetGone(); err != nil {
		return nil, false, err
	}
	sharing, err := store.Find[*store.Sharing](g.tx, store.SharingKey(g.wish.Name))
	if err != nil {
		return nil, false, err
	}
	if sharing == nil {
		sharing = &store.Sharing{ID: g.wish.Name, SharingKey: g.wish.SharingKey}
	}
	c, there, err := g.joinable(k, sharing)
	switch {
	case err != nil || c == nil && there: // what is there will be gone, or joinable again
		return nil, false, err
	case c != nil:
		if c.ID != g.wish.Container {
			if err := release(g.tx, g.wish); err != nil {
				return nil, false, err
			}
			if ok, err := g.budgeted(c.Instance); err != nil || !ok {
				return nil, false, err
			}
		}
		g.wish.Container, g.wish.Instance = c.ID, c.Instance
		return c, false, orchestrator.SetWarm(g.tx, c, g.wish.Until)
	}
	if err := release(g.tx, g.wish); err != nil {
		return nil, false, err
	}
	at, err := g.choose(candidates)
	if err != nil || at == "" {
		return nil, false, err
	}
	if ok, err := g.budgeted(at); err != nil || !ok {
		return nil, false, err
	}
	in, err := store.Get[*store.Instance](g.tx, store.InstanceKey(at))
	if err != nil {
		return nil, false, err
	}
	c = &store.Container{ID: id, Remote: g.wish.Remote, Owner: k.cfg.Replica, WarmUntil: g.wish.Until}
	g.wish.Container, g.wish.Instance = c.ID, in.ID
	return c, true, orchestrator.CreateWarm(g.tx, c, sharing, in, g.now)
}

// choose returns the instance for a new container: the first one with room, among those on which no older wish must yield if
// there are any. "" = none has room.
func (g *granting) choose(candidates []string) (at string, err error) {
	for _, id := range candidates {
		in, err := store.Find[*store.Instance](g.tx, store.InstanceKey(id))
		if err != nil {
			return "", err
		}
		if !orchestrator.HasRoom(in) || slices.Contains(g.taken, id) {
			continue
		}
		if g.budget.PerInstance == 0 || g.held(id) < g.budget.PerInstance {
			return id, nil
		}
		if at == "" && g.oldest(id) != nil {
			at = id
		}
	}
	return at, nil
}

// joinable returns the container of a sharing key that the next session would join. there says that no other may be made: the key has
// one, or its containers are on full instances, and no more are allowed. An empty one that the session would not join, because its
// settings have changed, is given up. A wish of the planner is for no container that has sessions.
func (g *granting) joinable(k *Keeper, sharing *store.Sharing) (found *store.Container, there bool, err error) {
	full := 0
	for _, id := range sharing.Containers {
		c, in, err := store.FindContainer(g.tx, id)
		if err != nil {
			return nil, false, err
		}
		if c == nil || in == nil {
			continue
		}
		g.taken = append(g.taken, in.ID)
		if g.wish.Learned && c.Sessions > 0 && orchestrator.Joinable(c, in) && !pool.HasSlot(in) {
			full++
			continue
		}
		there = true
		if !orchestrator.Joinable(c, in) || !orchestrator.TakesEmpty(in) || g.wish.Learned && c.Sessions > 0 {
			continue
		}
		// One that starts has no settings yet.
		if c.State == store.ContainerStarting || c.Sessions > 0 || k.cfg.Containers.Fits(c, in) {
			return c, true, nil
		}
		stopping, err := orchestrator.GiveUp(g.tx, id, k.cfg.Replica, g.now)
		if err != nil {
			return nil, true, err
		}
		if stopping != nil {
			g.gaveUp = append(g.gaveUp, stopping)
		}
	}
	return nil, there || full >= g.most, nil
}

// forgetGone takes back the parts of wishes that are over, and of containers that are gone.
func (g *granting) forgetGone() error {
	for i := range g.w.Wishes {
		x := &g.w.Wishes[i]
		if x.Container == "" {
			continue
		}
		c, err := store.Find[*store.Container](g.tx, store.ContainerKey(x.Container))
		switch {
		case err != nil:
			return err
		case c == nil || c.State == store.ContainerStopping:
			x.Container, x.Instance = "", ""
		case !x.Until.After(g.now):
			if err := release(g.tx, x); err != nil {
				return err
			}
		}
	}
	return nil
}

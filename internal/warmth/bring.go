package warmth

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Wishes whose container does not come up are tried again after a pause, which doubles with each failure.
const (
	firstPause   = 30 * time.Second
	longestPause = 10 * time.Minute
	// Those of the planner itself are tried less often: most are for repositories that need a credential.
	longestLearned = 6 * time.Hour
)

// tries are the wishes that this process is at work for, and those that have failed lately.
type tries struct {
	mu      sync.Mutex // protects what follows
	running map[string]int
	failed  map[string]failure
}

type failure struct {
	times int
	after time.Time // when the next try may begin
}

// begin reports whether a try may begin. One that a host asks for always may.
func (t *tries) begin(name string, asked bool, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !asked && (t.running[name] > 0 || now.Before(t.failed[name].after)) {
		return false
	}
	if t.running == nil {
		t.running, t.failed = make(map[string]int), make(map[string]failure)
	}
	t.running[name]++
	return true
}

// paused reports whether a wish has failed lately, so that no try may begin.
func (t *tries) paused(name string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Before(t.failed[name].after)
}

// end records the outcome of a try. longest bounds the pause before the next one.
func (t *tries) end(name string, err error, now time.Time, longest time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[name]--; t.running[name] == 0 {
		delete(t.running, name)
	}
	if err == nil {
		delete(t.failed, name)
		return
	}
	if len(t.failed) >= MaxWishes {
		clear(t.failed)
	}
	f := t.failed[name]
	pause := min(firstPause<<min(f.times, 10), longest)
	t.failed[name] = failure{f.times + 1, now.Add(pause)}
}

// bring begins to fulfil a wish in the background. If that is missing, a container that is up is left as it is. Otherwise its mirror
// is fetched anew.
func (k *Keeper) bring(name string, cred orchestrator.Credential, why purpose) {
	if k.cfg.Context.Err() != nil || !k.tries.begin(name, why == called, time.Now()) {
		return
	}
	k.cfg.Go(func() {
		ctx := k.cfg.Context
		c, learned, err := k.fulfil(ctx, name, cred, why)
		if errors.Is(err, agent.ErrGone) { // it gave way to a session, or died: Lead looks for another
			c, err = nil, nil
		}
		longest := longestPause
		if learned || why == aged {
			longest = longestLearned
		}
		k.tries.end(name, err, time.Now(), longest)
		switch {
		case ctx.Err() != nil, errors.Is(err, agent.ErrClosed):
		case err != nil && why == aged:
			k.cfg.Failures.Report("cannot keep the mirror of a warm container fresh", err, "container", name)
		case err != nil && c == nil:
			k.cfg.Failures.Report("cannot keep a container warm", err, "container", name)
		case c != nil && why != aged:
			k.cfg.OnWarm(*c, err)
		}
	})
}

// fulfil brings up the container of a wish, with a fresh mirror. The container is nil if nothing was done. learned says that the wish
// is the planner's own.
func (k *Keeper) fulfil(ctx context.Context, name string, cred orchestrator.Credential, why purpose) (_ *store.Container, learned bool, _ error) {
	c, wish, made, err := k.grant(ctx, name)
	if err != nil || c == nil || !made && why == missing {
		return nil, wish.Learned, err
	}
	if cred == (orchestrator.Credential{}) && k.cfg.Source != nil {
		cred.Source = k.cfg.Source(c)
	}
	starting := c.State == store.ContainerStarting
	k.cfg.Containers.Start(ctx, c.ID, cred)
	inside, err := k.cfg.Containers.Inside(ctx, c.ID)
	if err != nil {
		return c, wish.Learned, err
	}
	if !starting || wish.Branch != "" { // otherwise the start has fetched all branches
		err = orchestrator.Freshen(ctx, k.cfg.Containers, c, inside, wish.Branch, cred)
	}
	if what := k.cfg.Containers.PrepareOf(c.SharingKey.Repository); err == nil && (!what.IsZero() || k.cfg.Containers.KeepsLayers(c.SharingKey)) {
		k.cfg.Containers.Prepare(*c, inside, what, c.Remote, wish.Branch)
	}
	return c, wish.Learned, err
}

// bringAll begins to fulfil the wishes that have no container, and takes back what is beyond its time or the budget. The planner
// does so: a container has died or given way, there was no room when the host asked, or the budget was larger.
func (l *leader) bringAll(ctx context.Context) error {
	var s survey
	err := l.fenced.View(ctx, func(v store.View) error {
		w, err := wishes(v)
		if err != nil {
			return err
		}
		now := time.Now()
		l.noteWishes(w, now)
		s, err = l.survey(v, w, now)
		return err
	})
	if err == nil && len(s.over)+len(s.surplus) > 0 {
		err = l.takeBack(ctx, s)
	}
	for _, name := range s.bring {
		l.bring(name, orchestrator.Credential{}, missing)
	}
	for _, name := range s.aged {
		l.bring(name, orchestrator.Credential{}, aged)
	}
	return err
}

// survey is what is to be done about the wishes.
type survey struct {
	bring   []string       // they have no container, and the budget allows one
	aged    []string       // their containers' mirrors are old
	over    map[asked]bool // their time is over
	surplus map[asked]bool // their containers are beyond the budget
}

// survey looks at all wishes. Those for which hosts asked last come first.
func (l *leader) survey(v store.View, w list, now time.Time) (survey, error) {
	s := survey{over: make(map[asked]bool), surplus: make(map[asked]bool)}
	budget, wanted, fulfilled, onInstance := l.cfg.Budget, 0, 0, make(map[string]int)
	maps.DeleteFunc(l.fetched, func(id string, _ time.Time) bool {
		return !slices.ContainsFunc(w.Wishes, func(x store.WarmWish) bool { return x.Container == id })
	})
	for _, x := range slices.Backward(w.Wishes) {
		if l.over(x, now) {
			s.over[asked{x.Name, x.Asked}] = true
			continue
		}
		if x.Container != "" {
			if fulfilled == budget.Containers || budget.PerInstance > 0 && onInstance[x.Instance] == budget.PerInstance {
				s.surplus[asked{x.Name, x.Asked}] = true
				continue
			}
			fulfilled++
			onInstance[x.Instance]++
		}
		if wanted++; wanted > budget.Containers {
			continue
		}
		c, err := store.Find[*store.Container](v, store.ContainerKey(x.Container))
		if err != nil {
			return s, err
		}
		switch {
		case c == nil || c.State == store.ContainerStopping:
			s.bring = append(s.bring, x.Name)
		case l.agedNow(c, now):
			s.aged = append(s.aged, x.Name)
		}
	}
	return s, nil
}

// asked is one call of Warm.
type asked struct {
	name string
	at   time.Time
}

// noteWishes records which wishes there are.
func (l *leader) noteWishes(w list, now time.Time) {
	seen := make(map[asked]time.Time)
	for _, x := range w.Wishes {
		at := asked{x.Name, x.Asked}
		first, known := l.asked[at]
		if !known {
			first = now
		}
		seen[at] = first
	}
	l.asked = seen
}

// over reports whether the time of a wish is over, by either clock: that of the process that stored it may be ahead.
func (l *leader) over(x store.WarmWish, now time.Time) bool {
	return !x.Until.After(now) || now.Sub(l.asked[asked{x.Name, x.Asked}]) >= x.Until.Sub(x.Asked)
}

// takeBack removes wishes whose time is over, and takes back the parts of those that are beyond the budget.
func (l *leader) takeBack(ctx context.Context, s survey) error {
	return l.fenced.Update(ctx, []store.Key{store.WarmthKey()}, func(tx store.Tx) error {
		w, err := wishes(tx)
		if err != nil {
			return err
		}
		var left []store.WarmWish
		for _, x := range w.Wishes {
			at := asked{x.Name, x.Asked}
			if s.over[at] || s.surplus[at] {
				if err := release(tx, &x); err != nil {
					return err
				}
			}
			if !s.over[at] {
				left = append(left, x)
			}
		}
		w.Wishes = left
		return w.put(tx)
	})
}

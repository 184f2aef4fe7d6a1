package sim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/store"
)

// drawWarmth decides whether containers stay when their last session has ended.
func (p *plan) drawWarmth() {
	d := p.dice
	if d.chance(0.5, "containers stay") {
		p.config.ContainerIdleTimeout = []time.Duration{20 * time.Second, 90 * time.Second}[d.between(0, 1, "for how long")]
	}
	p.silent = d.chance(0.4, "hosts ask for nothing")
	if d.chance(0.4, "hosts ask for warmth") {
		p.config.Warm = berth.Warm{
			Containers: d.between(1, 3, "warm"), PerInstance: d.between(0, 2, "warm on each"),
			Refresh: time.Duration(d.between(1, 10, "refresh")) * 30 * time.Second,
		}
	}
}

// idle is how long an empty container stays that nobody wants to be warm.
func (p plan) idle() time.Duration {
	if p.config.Warm.Containers > 0 && p.config.ContainerIdleTimeout == 0 {
		return 3 * time.Minute // the default
	}
	return p.config.ContainerIdleTimeout
}

// warmNowAndThen lets hosts ask for warmth, and take it back, while tasks come.
func (w *world) warmNowAndThen() {
	d := w.plan.dice
	for round := 0; time.Since(epoch) < w.plan.arrivals; round++ {
		at := fmt.Sprint("warmth ", round)
		time.Sleep(d.upTo(30*time.Second, at))
		repo := d.zipf(w.plan.repos, at, "repo")
		remote := w.plan.admitted(repo, at, "spelling")
		r := w.some(at)
		ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
		var err error
		if d.chance(0.2, at, "cools") {
			err = r.Cool(ctx, remote, "")
		} else {
			err = r.Warm(ctx, remote, "", time.Now().Add(30*time.Second+d.upTo(5*time.Minute, at, "until")))
		}
		cancel()
		w.trace.add("%s of %s at %s: %v", at, remote, r.name, err)
		if err != nil && strings.Contains(err.Error(), secret) {
			w.rules.broken("an error holds a credential: %v", err)
		}
	}
}

// budget checks that no more wishes are fulfilled than the budget allows. Then containers that are warm have a wish.
func (e *empties) budget(s *audit.Snapshot) {
	p := e.rules.world.plan
	var record *store.Warmth
	err := e.rules.world.store.View(context.Background(), func(v store.View) (err error) {
		record, err = store.Find[*store.Warmth](v, store.WarmthKey())
		return err
	})
	if err != nil {
		e.rules.broken("the store cannot be read: %v", err)
	}
	fulfilled, perInstance := make(map[string]bool), make(map[string]int)
	if record != nil {
		for _, x := range record.Wishes {
			if x.Container != "" {
				fulfilled[x.Container] = true
				perInstance[x.Instance]++
				if x.Learned {
					e.rules.world.trace.saw("the planner keeps a container warm")
				}
			}
		}
	}
	if n := len(fulfilled); n > p.config.Warm.Containers {
		e.rules.broken("%d wishes are fulfilled, of at most %d", n, p.config.Warm.Containers)
	}
	for id, n := range perInstance {
		if most := p.config.Warm.PerInstance; most > 0 && n > most {
			e.rules.broken("%d wishes are fulfilled on %s, of at most %d", n, id, most)
		}
	}
	for id, c := range s.Containers {
		if c.WarmUntil.IsZero() || c.State == store.ContainerStopping {
			continue
		}
		e.rules.world.trace.saw("a container is warm")
		if !fulfilled[id] {
			e.rules.broken("container %s is kept warm, and no wish has it", c.Name)
		}
	}
}

// lateEmpty is how much longer than its time an empty container may be listed: while one planner follows on another, and calls
// of the store fail.
const lateEmpty = 3 * time.Minute

// empties follows the containers that no session holds. Like cost, only rules.check uses it.
type empties struct {
	rules *rules
	seen  map[store.Empty]time.Time // when each was first listed, in true time
	warm  map[string]bool           // the containers that a host has wanted to be warm
}

// look checks one state of the store. That no more containers stay than there is room for, audit.Snapshot checks.
func (e *empties) look(s *audit.Snapshot) {
	e.budget(s)
	p := e.rules.world.plan
	now, seen := time.Now(), make(map[store.Empty]time.Time)
	for id, in := range s.Instances {
		for _, x := range in.Empties {
			first, known := e.seen[x]
			if !known {
				first = now
			}
			seen[x] = first
			if !x.WarmUntil.IsZero() {
				e.warm[x.Container] = true
			}
			until := first.Add(p.idle())
			if x.WarmUntil.After(until) {
				until = x.WarmUntil
			}
			if p.idle() == 0 && x.WarmUntil.IsZero() && !e.warm[x.Container] {
				e.rules.broken("container %s stays empty on %s, where none should", x.Container, id)
			}
			if late := now.Sub(until); late > lateEmpty && !p.stale() && !p.pauses() && !p.armed[clocks] {
				e.rules.broken("container %s is empty for %v longer than its time", x.Container, late)
			}
		}
	}
	for x := range e.seen {
		if _, still := seen[x]; still {
			continue
		}
		switch c := s.Containers[x.Container]; {
		case c != nil && c.Sessions > 0:
			e.rules.world.trace.saw("an empty container was joined")
		case c != nil && c.State == store.ContainerStopping && now.Sub(e.seen[x]) < p.idle():
			e.rules.world.trace.saw("an empty container gave way")
		}
	}
	e.seen = seen
}

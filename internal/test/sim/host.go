package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// The functions of the host that a Config has: who may have what, who shares, and where sessions may connect to.

// drawHost decides which functions the host has.
func (p *plan) drawHost() {
	d := p.dice
	p.onEnd = d.chance(0.3, "on end")
	p.authorizes, p.teams, p.walled = d.chance(0.4, "authorizes"), d.chance(0.2, "teams"), d.chance(0.3, "walled")
	switch {
	case d.chance(0.15, "prove always"):
		p.config.Access = berth.AccessProveAlways
	case d.chance(0.1, "allow all"):
		p.config.Access = berth.AccessAllowAll
	}
}

// forbids reports whether a user may not use a repository from the beginning.
func (p plan) forbids(user, path string) bool {
	return p.authorizes && user != unlimited && p.dice.chance(0.1, "forbidden", user, path)
}

// team is the part of the sharing key that the host gives.
func team(user string) string {
	return fmt.Sprint("team-", len(user), strings.TrimPrefix(user, "user-") < "2")
}

// egress is the egress of a repository's containers.
func (p plan) egress(path string) (e orchestrator.Egress) {
	if p.walled && p.dice.chance(0.5, "egress", path) {
		e.Mode = orchestrator.EgressNone
	}
	return e
}

// errForbidden is the host's own, errDisorder is that of a host whose function fails.
var (
	errForbidden = errors.New("not on the list")
	errDisorder  = errors.New("the directory does not answer")
)

// host has the functions of one replica's host.
type host struct {
	*world
	replica string
}

// install gives a replica's Config the functions of its host.
func (h host) install(c *berth.Config) {
	if limits := c.UserLimitsFor; limits != nil {
		c.UserLimitsFor = func(user string) berth.UserLimits {
			if h.fails("limits", user) != works {
				panic(errDisorder)
			}
			return limits(user)
		}
	}
	if h.plan.prepare.on {
		c.PrepareFor = h.prepareFor
	}
	if h.plan.onEnd {
		c.OnEnd, c.EndTimeout = h.onEnd, 20*time.Second
	}
	if h.plan.authorizes {
		c.Authorize = h.authorize
	}
	if h.plan.credentials() {
		c.Credentials = h.credential
	}
	if h.plan.teams {
		c.Sharing.Key = func(r berth.AccessRequest) (string, error) {
			switch h.fails("key", r.TaskID) {
			case works:
				return team(r.UserID), nil
			case panics:
				panic(errDisorder)
			}
			return "", errDisorder
		}
	}
	if h.plan.walled {
		c.EgressFor = func(k naming.Key) orchestrator.Egress {
			switch h.fails("egress", k.String()) {
			case works:
				return h.plan.egress(k.Repository.Path)
			case panics:
				panic(errDisorder)
			}
			return orchestrator.Egress{Mode: "sieve"}
		}
	}
}

// authorize is a Config.Authorize. Its answer is up to two seconds old.
func (h host) authorize(ctx context.Context, r berth.AccessRequest) error {
	may := h.may(r.UserID, r.Repository)
	fails := h.fails("authorize", r.TaskID)
	n, _ := h.meddler.count("authorize " + h.replica + r.TaskID)
	pause(ctx, h.plan.dice.upTo(2*time.Second, "authorize", h.replica, r.TaskID, fmt.Sprint(n)))
	switch {
	case fails == panics:
		panic(errDisorder)
	case fails == blocks:
		<-ctx.Done()
		return ctx.Err()
	case fails == errs:
		return errDisorder
	case !may:
		return errForbidden
	}
	return nil
}

// failing is what a function of the host does.
type failing int

const (
	works failing = iota
	panics
	blocks
	errs
)

// fails decides what one call of a function of the host does.
func (h host) fails(function, about string) failing {
	what := strings.Join([]string{h.replica, function, about}, " ")
	n, quiet := h.meddler.count(what)
	d := h.plan.dice
	if quiet || !h.plan.armed[unruly] || !d.chance(0.1, string(unruly), what, fmt.Sprint(n)) {
		return works
	}
	h.trace.saw(string(unruly))
	return failing(d.between(int(panics), int(errs), "fails", what, fmt.Sprint(n)))
}

// may reports whether the host lets a user use a repository now.
func (w *world) may(user string, of naming.Repository) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.plan.forbids(user, of.Path) && !slices.ContainsFunc(w.revoked, func(r *revocation) bool {
		return r.forGood && r.user == user && (r.of.IsZero() || r.of == of)
	})
}

// authorized checks that no user has a session who may not: never had the right, or has lost it before a revocation that is
// done.
func (r *rules) authorized(s *audit.Snapshot) {
	w := r.world
	w.mu.Lock()
	revoked := slices.Clone(w.revoked)
	w.mu.Unlock()
	for _, x := range s.Sessions {
		if w.plan.forbids(x.UserID, x.SharingKey.Repository.Path) {
			r.broken("session %s of %s and %s, who may not use %s", x.ID, x.TaskID, x.UserID, x.SharingKey)
		}
		for _, v := range revoked {
			if v.forGood && !v.done.IsZero() && x.State != store.SessionEnded && v.concerns(x) {
				r.broken("session %s of %s and %s is %s, and its user may not use %s since before a revocation",
					x.ID, x.TaskID, x.UserID, x.State, x.SharingKey)
			}
		}
	}
}

// shares checks that sessions share a container only if the host's function says so, and that the containers have the
// egress that the host gives them.
func (r *rules) shares(s *audit.Snapshot) {
	teams := make(map[string]string) // by container
	for _, x := range s.Sessions {
		if !r.world.plan.teams || x.Container == "" || x.State == store.SessionEnded {
			continue
		}
		if was, mine := teams[x.Container], team(x.UserID); was != "" && was != mine {
			r.broken("session %s of %s and %s is in container %s of %s", x.ID, x.TaskID, x.UserID, x.Container, was)
		} else {
			teams[x.Container] = mine
		}
	}
	for _, c := range r.world.ours() {
		if want := r.world.plan.egress(c.Key.Repository.Path); c.Egress.Mode != want.Mode {
			r.broken("container %s of %s may reach %+v, not %+v", c.ID, c.Key, c.Egress, want)
		}
	}
}

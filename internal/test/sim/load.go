package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth"
)

// load starts all the tasks, each at its time, and returns when the last one is over.
func (w *world) load() {
	burst := w.plan.dice.chance(0.3, "burst")
	for i := range w.plan.tasks {
		name := taskName(i)
		if w.plan.drops(name) {
			continue
		}
		at := w.plan.dice.upTo(w.plan.arrivals, name, "arrival")
		if burst {
			at = at / 10
		}
		w.actors.Go(func() {
			time.Sleep(at)
			(&task{world: w, name: name, repo: w.plan.dice.zipf(w.plan.repos, name, "repo")}).live()
		})
	}
	if w.plan.revokes {
		w.actors.Go(w.revokeNowAndThen)
	}
	if w.plan.config.Warm.Containers > 0 && !w.plan.silent {
		w.actors.Go(w.warmNowAndThen)
	}
	w.actors.Wait()
}

// task is one task of a host application, from its arrival to its end.
type task struct {
	*world
	name string
	repo int
	from *snapshotOf // with which its session begins; nil = with nothing
}

// will decides whether the task does something that it does with a probability.
func (t *task) will(p float64, what string) bool { return t.plan.dice.chance(p, t.name, what) }

func (t *task) request() berth.SessionRequest {
	d := t.plan.dice
	r := berth.SessionRequest{
		TaskID: t.name, UserID: userName(d.zipf(users, t.name, "user")),
		Repository: t.remote(), Env: map[string]string{"TOKEN": secret},
	}
	if t.will(0.05, "wrong branch") {
		r.Branch = "nowhere"
	} else if t.will(0.1, "tag") {
		r.Branch = tag
	}
	if t.plan.keeps {
		r.Env["OWN"] = ownSecret
	}
	if t.from != nil {
		r.Snapshot, r.Branch = t.from.name, ""
	}
	if t.will(0.1, "has a lifetime") {
		r.MaxLifetime = d.upTo(2*time.Minute, t.name, "lifetime") + time.Second
	}
	return r
}

// tag is a tag that every repository has.
const tag = "v1"

func (t *task) live() {
	d := t.plan.dice
	if t.will(0.05, "bad input") {
		r := t.request()
		r.Repository = "--upload-pack=touch /tmp/x"
		_, err := t.some(t.name, "bad").CreateSession(t.ctx, r)
		if !errors.Is(err, berth.ErrInvalid) && !errors.Is(err, berth.ErrClosed) {
			t.rules.broken("bad input gave %v", err)
		}
	}
	t.choose()
	if t.will(0.1, "terminated while it is created") {
		t.actors.Go(t.saboteur)
	}
	if t.will(0.1, "twin") {
		t.actors.Go(func() { t.create("twin") })
	}
	s := t.create("")
	if s == nil {
		return
	}
	t.begins(s)
	t.keep(s)
	hold := d.life(t.plan.median, t.name, "life")
	if t.will(0.2, "nods off") { // the user returns when the lease is about to end
		idle := t.plan.config.SessionIdleTimeout
		time.Sleep(idle + idle/10 + d.upTo(1200*time.Millisecond, t.name, "nap"))
		_ = s.KeepAlive(t.ctx)
	}
	if t.plan.armed[clocks] && t.will(0.5, "kept alive") {
		for until := time.Now().Add(t.plan.config.SessionIdleTimeout + hold); time.Now().Before(until); time.Sleep(time.Minute) {
			_ = s.KeepAlive(t.ctx) // its session may have ended
		}
	}
	if t.will(0.5, "command") {
		t.command(s, hold)
	} else {
		time.Sleep(hold)
	}
	if t.will(0.1, "forgotten") { // it expires
		return
	}
	t.end(s.ID(), "end")
	if t.will(0.1, "twice") {
		t.end(s.ID(), "again")
	}
}

// create makes the task's session. As a host application does, it asks again if the replica has died or the store has
// failed.
func (t *task) create(who string) *berth.Session {
	for try := range 20 {
		purpose := fmt.Sprint(t.name, who, try)
		r := t.some(purpose, "replica")
		patience := 20 * time.Minute
		if try == 0 && t.will(0.1, who+"gives up") {
			patience = t.plan.dice.upTo(20*time.Second, purpose, "patience")
		}
		ctx, cancel := context.WithTimeout(t.ctx, patience)
		s, err := r.CreateSession(ctx, t.request())
		gaveUp := ctx.Err() != nil
		cancel()
		if !t.serves(r) {
			t.trace.saw("asked again after a crash")
			continue // its answer is lost
		}
		t.trace.add("%s%s at %s: %v", t.name, who, r.name, err)
		if err == nil {
			t.rules.created(t, r, s)
			return s
		}
		t.rules.failed(t, r, err)
		t.unkept(err)
		if gaveUp {
			t.trace.saw("a caller gave up")
			return nil
		}
		if !errors.Is(err, errInjected) {
			return nil
		}
		time.Sleep(time.Second)
	}
	return nil
}

// end ends a session. It asks one replica after another until one reports success.
func (t *task) end(id, why string) {
	for try := range 50 {
		r := t.some(t.name, why, fmt.Sprint(try))
		ctx, cancel := context.WithTimeout(t.ctx, 10*time.Minute)
		err := r.TerminateSession(ctx, id)
		cancel()
		if !t.serves(r) {
			continue
		}
		t.trace.add("%s %s at %s: %v", t.name, why, r.name, err)
		switch {
		case err == nil:
			t.rules.terminated(t, id)
			return
		case errors.Is(err, berth.ErrSessionNotFound):
			return
		}
	}
	t.rules.broken("session %s of %s cannot be ended", id, t.name)
}

// saboteur ends the task's session at a random moment of its creation.
func (t *task) saboteur() {
	placed := false
	for range 100 {
		for s, err := range t.some(t.name, "saboteur").ListSessions(t.ctx, berth.SessionFilter{TaskID: t.name}) {
			if err != nil {
				continue
			}
			if !placed && s.Info().Container.ID == "" && s.Info().Instance.ID == "" && t.will(0.5, "saboteur waits") {
				continue // until it has its place
			}
			placed = true
			time.Sleep(t.plan.dice.upTo(6*time.Second, t.name, "saboteur"))
			t.trace.saw("terminated while it is created")
			t.end(s.ID(), "sabotage")
			return
		}
		time.Sleep(time.Second)
	}
}

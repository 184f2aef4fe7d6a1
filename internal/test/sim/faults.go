package sim

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

// Injected errors.
var (
	errInjected = errors.New("injected failure")
	errDead     = errors.New("this process is dead")
)

// meddler decides the faults of the replicas' calls.
type meddler struct {
	plan   plan
	note   func(what string)
	crash  func(replica string)
	called func(fake.Call)
	acted  func(fake.Call) // a call has had its effect
	// callsRest returns for how long a replica that is paused, or was just paused, makes no call.
	callsRest func(replica string) time.Duration

	mu     sync.Mutex // protects the fields below
	sites  []site     // the calls that the sweep may strike, in their order
	struck bool
	healed bool
	dead   map[string]bool // replicas that crashed
	calls  map[string]int
	lies   map[string]bool // launches without a record that may have started a machine
}

// lied records a launch whose machine the pool cannot know before the list shows it.
func (m *meddler) lied(launch string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lies[launch] = true
}

// lieCount returns how many launches lied has recorded, and whether a given launch is among them.
func (m *meddler) lieCount(launch string) (n int, is bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.lies), m.lies[launch]
}

func newMeddler(p plan, note, crash func(string)) *meddler {
	return &meddler{plan: p, note: note, crash: crash, dead: make(map[string]bool), lies: make(map[string]bool), calls: make(map[string]int)}
}

// count returns how many times something was asked, including this time.
func (m *meddler) count(what string) (n int, quiet bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls[what]++
	return m.calls[what], m.healed
}

func (m *meddler) isDead(replica string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead[replica]
}

func (m *meddler) kill(replica string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead[replica] = true
}

// heal ends all faults except death.
func (m *meddler) heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.healed = true
}

// fault decides the fault of a fake's call, and has the call's effect checked.
func (m *meddler) fault(c fake.Call) fake.Fault {
	if c.Actor == "" { // the world itself
		return fake.Fault{}
	}
	if m.isDead(c.Actor) {
		return fake.Fault{Before: errDead}
	}
	m.called(c)
	f := m.decide(c)
	if then := f.Done; then != nil {
		f.Done = func() { m.acted(c); then() }
	} else {
		f.Done = func() { m.acted(c) }
	}
	return f
}

// decide says what goes wrong with a call. It looks only at things that are the same in every run of a seed, so not at random
// IDs.
func (m *meddler) decide(c fake.Call) fake.Fault {
	what := fmt.Sprintf("%s %s %s", c.Actor, c.Verb, c.Container)
	n, quiet := m.count(what)
	d, p := m.plan.dice, m.plan
	at := fmt.Sprint(what, " ", n)
	f := fake.Fault{Delay: d.upTo(time.Millisecond, "jitter", at)}
	switch m.visit(at, string(c.Verb)) {
	case before:
		f.Before = fmt.Errorf("%s: %w", c.Verb, errInjected)
	case after:
		f.After = fmt.Errorf("%s, the reply: %w", c.Verb, errInjected)
	case crashBefore:
		m.crash(c.Actor)
		f.Before = errDead
	case crashAfter:
		f.Done, f.After = func() { m.crash(c.Actor) }, errDead
	}
	if c.Verb == fake.CloseSession && !quiet && p.pauses() {
		f.Delay = d.upTo(8*time.Second, "closes", at) // the replica that took over is at work when the other continues
	}
	if d := m.callsRest(c.Actor); d > 0 {
		f.Delay, f.Deaf = d, true
		return f
	}
	if quiet {
		return f
	}
	verb := string(c.Verb)
	hit := func(t trouble) bool {
		if !p.site(t, verb) || !d.chance(p.p, string(t), at) {
			return false
		}
		m.note(string(t))
		return true
	}
	switch {
	case hit(failBefore):
		f.Before = fmt.Errorf("%s: %w", verb, errInjected)
	case c.Verb == fake.Launch && p.armed[refusedAlive] && d.chance(0.1, string(refusedAlive), at): // only at this site
		m.note(string(refusedAlive))
		f.After = fmt.Errorf("%s: %w", verb, pool.ErrCapacity)
		m.lied(c.Host)
	case hit(failAfter):
		f.After = fmt.Errorf("%s, the reply: %w", verb, errInjected)
	case hit(slow):
		f.Delay = d.upTo(8*time.Second, "slow", at)
		if f.Deaf = d.chance(0.5, "deaf", at); f.Deaf {
			// A call that is under way when a replica loses its lease must be over before others take over.
			f.Delay /= 2
		}
	case hit(hang):
		f.Hang, f.HangAfter = d.chance(0.5, "hang", at), true
	}
	return f
}

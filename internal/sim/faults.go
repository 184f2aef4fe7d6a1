package sim

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/berth-go/berth/fake"
)

// Injected errors.
var (
	errInjected = errors.New("injected failure")
	errDead     = errors.New("this process is dead")
)

// meddler decides what goes wrong with the calls of the replicas.
type meddler struct {
	plan plan
	note func(what string)

	mu     sync.Mutex // protects what follows
	healed bool
	dead   map[string]bool // replicas that crashed
	calls  map[string]int
}

func newMeddler(p plan, note func(string)) *meddler {
	return &meddler{plan: p, note: note, dead: make(map[string]bool), calls: make(map[string]int)}
}

// count returns how often something was asked, this time included.
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

// heal ends all faults but death.
func (m *meddler) heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.healed = true
}

// fault decides about a call of a fake. What it looks at is the same in every run of a seed; random IDs are not.
func (m *meddler) fault(c fake.Call) fake.Fault {
	if m.isDead(c.Actor) {
		return fake.Fault{Before: errDead}
	}
	what := fmt.Sprintf("%s %s %s", c.Actor, c.Verb, c.Container)
	n, quiet := m.count(what)
	d, p := m.plan.dice, m.plan
	at := fmt.Sprint(what, " ", n)
	f := fake.Fault{Delay: d.upTo(time.Millisecond, "jitter", at)}
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
	case hit(failAfter):
		f.After = fmt.Errorf("%s, the reply: %w", verb, errInjected)
	case hit(slow):
		f.Delay = d.upTo(8*time.Second, "slow", at)
		if f.Deaf = d.chance(0.5, "deaf", at); f.Deaf {
			// What is under way when a replica loses its lease must be over before others take over.
			f.Delay /= 2
		}
	case hit(hang):
		f.Hang, f.HangAfter = d.chance(0.5, "hang", at), true
	}
	return f
}

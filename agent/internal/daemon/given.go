package daemon

import (
	"slices"
	"sync"

	"github.com/berth-go/berth/agent/internal/wire"
	"github.com/berth-go/berth/agent/leak"
)

// given has the values that a session was given: those of the environments of its commands, and credentials. They are in memory only.
type given struct {
	mu     sync.Mutex // protects values
	values leak.Given
}

// env remembers an environment.
func (g *given) env(env []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.values.AddEnv(env)
}

// environ returns the environment of a command. The session is given what the command has of its own.
func (s *session) environ(w wire.Start) []string {
	own := stringsOf(w.Env)
	if w.Helper() {
		return own // its settings are none of the session's
	}
	s.given.env(own)
	return slices.Concat(s.place.Env, s.repositoryEnv, stringsOf(s.Env), own)
}

// answer remembers a credential.
func (g *given) answer(a wire.Answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.values.Add("a password that git was given", a.Password)
}

// addTo adds the values to those that are looked for. It reports whether they are all.
func (g *given) addTo(v *leak.Values, common map[string]bool) (all bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.values.AddTo(v, common)
	return g.values.Whole()
}

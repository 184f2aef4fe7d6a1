// Package enginetest is the conformance suite of [orchestrator.Engine]: it holds an implementation to what the
// comments in package orchestrator promise. An implementation's own test calls [Run].
package enginetest

import (
	"slices"
	"testing"

	"github.com/berth-go/berth/orchestrator"
)

// Harness makes an implementation testable.
type Harness struct {
	// New makes what one case needs, and undoes it with t.Cleanup. Cases share nothing. The suite itself removes what
	// it makes in the rig's two pools.
	New func(t *testing.T) Rig

	// Bubble, if not nil, runs each case, with all that New does in it: testing/synctest.Test, say.
	Bubble func(t *testing.T, test func(*testing.T))

	// Parallel runs cases beside each other, as many as go test's -parallel allows. It does not go with a Bubble.
	Parallel bool

	// Only are the rules to hold, where all would take too long; nil = all. A rule that the suite does not have fails
	// the test.
	Only []string
}

// Rig is an engine on one machine with one remote repository, and the means to interfere. What is nil or empty cannot
// be done with this implementation; the cases that need it are skipped, and say so.
type Rig struct {
	Engine orchestrator.Engine
	Pool   orchestrator.Endpoint // of a pool that nobody else has
	Other  orchestrator.Endpoint // of another pool on the same machine

	Image  string // that the engine has, for every container
	Remote Remote
	Second Remote // another repository

	Unreachable string // an address where no engine is
	WrongHost   string // an address where the machine of another launch answers

	// KillContainer ends a container's processes from outside, as the kernel does when memory is short.
	KillContainer func(t *testing.T, name string)
	// RemoveContainer removes a container from outside, as an operator does.
	RemoveContainer func(t *testing.T, name string)
	// PlantStranger runs a container that is not of any pool under this name, and returns its ID.
	PlantStranger func(t *testing.T, name string) (id string)
	// Stranger returns the ID of the container of this name if it runs, and "" otherwise.
	Stranger func(t *testing.T, name string) (id string)
	// BreakMirror leaves a mirror as a fetch does that was cut off by a crash.
	BreakMirror func(t *testing.T, name string)
	// CutConnections breaks every connection to the machine; new ones succeed.
	CutConnections func(t *testing.T)
}

// Remote is a repository, as its server has it. It has two branches at least.
type Remote struct {
	URL     string
	Default string // its default branch
	Branch  string // another branch
	// Head returns the commit of a branch.
	Head func(branch string) string
	// Commit adds a commit to a branch, which it makes if it is not there.
	Commit func(t *testing.T, branch string)
	// Refuse makes the server answer every request with an error, or serve again.
	Refuse func(refuse bool)
	// Fetches returns how often the server was asked for objects. nil = it does not count.
	Fetches func() int
	// Hang makes the server keep every request waiting, or serve again. nil = it cannot.
	Hang func(hang bool)
}

// A testCase holds one rule.
type testCase struct {
	rule  string
	needs func(Rig) string // what the rig lacks for this case; nil = nothing is needed
	test  func(*fixture)
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	bubble := h.Bubble
	if bubble == nil {
		bubble = func(t *testing.T, test func(*testing.T)) { test(t) }
	}
	only := slices.Clone(h.Only)
	for _, cases := range [][]testCase{
		connectCases, ensureCases, nameCases, removeCases, attachCases, fetchCases, sessionCases, commandCases, idleCases,
		streamCases, endCases, contextCases,
	} {
		for _, c := range cases {
			if h.Only != nil {
				i := slices.Index(only, c.rule)
				if i < 0 {
					continue
				}
				only = slices.Delete(only, i, i+1)
			}
			t.Run(c.rule, func(t *testing.T) {
				if h.Parallel {
					t.Parallel()
				}
				bubble(t, func(t *testing.T) {
					rig := h.New(t)
					if c.needs != nil {
						if lack := c.needs(rig); lack != "" {
							t.Skipf("not tested: this implementation %s", lack)
						}
					}
					c.test(newFixture(t, rig))
				})
			})
		}
	}
	for _, rule := range only {
		t.Errorf("the suite has no rule %q", rule)
	}
}

// The needs of cases.

func needs(has bool, lack string) string {
	if has {
		return ""
	}
	return lack
}

func needsKill(r Rig) string {
	return needs(r.KillContainer != nil, "cannot kill containers from outside")
}
func needsRemove(r Rig) string {
	return needs(r.RemoveContainer != nil, "cannot remove containers from outside")
}
func needsStranger(r Rig) string {
	return needs(r.PlantStranger != nil, "cannot run containers of others")
}
func needsHang(r Rig) string  { return needs(r.Remote.Hang != nil, "has no remote that can hang") }
func needsBreak(r Rig) string { return needs(r.BreakMirror != nil, "cannot break mirrors") }
func needsCut(r Rig) string   { return needs(r.CutConnections != nil, "cannot cut connections") }

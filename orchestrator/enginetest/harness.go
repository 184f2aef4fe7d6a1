// Package enginetest is the conformance suite of [orchestrator.Engine]. It checks that an implementation does what the
// comments in package orchestrator promise. The test of an implementation calls [Run].
package enginetest

import (
	"context"
	"slices"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// Harness makes an implementation testable.
type Harness struct {
	// New makes a rig for one case, and removes it with t.Cleanup. Cases share nothing. The suite removes the things that it
	// makes in the rig's two pools itself.
	New func(t *testing.T) Rig

	// Reuse makes a rig in whose pools earlier cases have run, for the many cases that are about what happens in a container: it saves
	// them what every first container of a pool needs. Tidy of the rig is required. nil = New makes a rig for each case.
	Reuse func(t *testing.T) Rig

	// Bubble, if not nil, runs each case, including New: testing/synctest.Test, for example.
	Bubble func(t *testing.T, test func(*testing.T))

	// Parallel runs cases in parallel, as many as go test's -parallel allows. It cannot be combined with a Bubble.
	Parallel bool

	// Only selects the rules to check, where all would take too long. nil = all. A rule that the suite does not have fails
	// the test.
	Only []string
}

// Rig is an engine on one machine, with two remote repositories and functions that interfere with the engine from outside.
// If a field is nil or empty, the implementation does not support it, and the cases that need it are skipped.
type Rig struct {
	Engine orchestrator.Engine
	Pool   orchestrator.Endpoint // of a pool for this case alone
	Other  orchestrator.Endpoint // of another pool on the same machine

	Image  string // an image that the engine has; every container uses it
	Remote Remote
	Second Remote              // another repository
	Egress orchestrator.Egress // of every container; allows the addresses of both

	Unreachable string // an address where no engine is
	WrongHost   string // an address where the machine of another launch answers

	// KillContainer kills a container's processes from outside, as the kernel does when memory is short.
	KillContainer func(t *testing.T, name string)
	// KillOutOfMemory uses up the memory of a container with MemoryLimit, and then does what KillContainer does.
	KillOutOfMemory func(t *testing.T, name string)
	// UseMemory makes the kernel kill the commands of a session for lack of memory. nil = a command of the suite that uses
	// too much memory is killed anyway.
	UseMemory func(t *testing.T, name, session string)
	// FillDisk makes a session use more of the disk than DiskLimit, under its uid.
	FillDisk func(t *testing.T, name string, s agent.Session)
	// RemoveContainer removes a container from outside, as an operator does.
	RemoveContainer func(t *testing.T, name string)
	// PlantStranger runs a container with this name that belongs to no pool, and returns its ID.
	PlantStranger func(t *testing.T, name string) (id string)
	// Stranger returns the ID of the container of this name if it runs, and "" otherwise.
	Stranger func(t *testing.T, name string) (id string)
	// BreakMirror leaves a mirror as a crash during a fetch does.
	BreakMirror func(t *testing.T, name string)
	// PlantResources makes one resource of each kind that a process of a pool may leave when it dies, and returns their
	// IDs. The pool has a container already.
	PlantResources func(t *testing.T, at orchestrator.Endpoint) (ids []string)
	// RefuseRooms makes the engine give the sessions of new containers no rooms, for a reason, or rooms again if it is "".
	RefuseRooms func(t *testing.T, reason string)
	// Processes says that commands are real processes, which see others in /proc.
	Processes bool
	// CutConnections breaks every connection to the machine; new ones succeed.
	CutConnections func(t *testing.T)
	// Tidy removes what a case made in a pool: its containers, mirrors, and what they alone used. nil = Purge does.
	Tidy func(ctx context.Context, h orchestrator.Host) error
}

// Remote is a repository on a server. It has at least two branches.
type Remote struct {
	URL     string
	Default string // its default branch
	Branch  string // another branch
	Tag     string // a tag
	Tagged  string // its commit
	// Beside is a commit that no branch and no tag reaches, but that the server sends.
	Beside string
	// Head returns the commit of a branch.
	Head func(branch string) string
	// Commit adds a commit to a branch, and makes the branch if it does not exist.
	Commit func(t *testing.T, branch string)
	// Refuse makes the server answer every request with an error, or serve again.
	Refuse func(refuse bool)
	// Fetches returns how often the server was asked for objects. nil = the server does not count.
	Fetches func() int
	// Requests returns how often the server was asked for anything. nil = the server does not count.
	Requests func() int
	// Lock makes the server want a credential, which it returns, or want none. nil = the server cannot.
	Lock func(lock bool) (user, password string)
	// Hidden is the URL of a repository that the engine's containers reach only through Proxy, the URL of an HTTP proxy.
	// Empty = there is none.
	Hidden, Proxy string
	// Flake makes the server answer only the next request with a failure that passes.
	Flake func()
	// Hang makes the server keep every request waiting, or serve again. nil = the server cannot.
	Hang func(hang bool)
}

// A testCase checks one rule.
type testCase struct {
	rule  string
	needs func(Rig) string // returns what the rig lacks for this case, or "". nil = the case needs nothing special
	test  func(*fixture)
}

// casesOfPools are about a pool's things on an engine, and casesInside about what happens in a container.
var (
	casesOfPools = slices.Concat(connectCases, ensureCases, isolationCases, nameCases, removeCases, resourceCases, contextCases)
	casesInside  = slices.Concat(attachCases, fetchCases, privateCases, cacheCases, prepareCases, promoteCases, sessionCases, commandCases, filesCases, workCases,
		signalCases, dialCases, questionCases, detachedCases, listingCases, idleCases, memoryCases, diskCases, streamCases, endCases)
)

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	if h.Bubble == nil {
		h.Bubble = func(t *testing.T, test func(*testing.T)) { test(t) }
	}
	if h.Reuse == nil {
		h.Reuse = h.New
	}
	only := slices.Clone(h.Only)
	run := func(cases []testCase, newRig func(*testing.T) Rig) {
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
				h.Bubble(t, func(t *testing.T) { c.run(t, newRig(t)) })
			})
		}
	}
	run(casesOfPools, h.New)
	run(casesInside, h.Reuse)
	for _, rule := range only {
		t.Errorf("the suite has no rule %q", rule)
	}
}

// run runs the case, unless the rig lacks what it needs.
func (c testCase) run(t *testing.T, rig Rig) {
	if c.needs != nil {
		if lack := c.needs(rig); lack != "" {
			t.Skipf("skipped: this implementation %s", lack)
		}
	}
	c.test(newFixture(t, rig))
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
func needsKillOutOfMemory(r Rig) string {
	return needs(r.KillOutOfMemory != nil, "cannot use up the memory of a container")
}
func needsFill(r Rig) string { return needs(r.FillDisk != nil, "cannot fill the disk") }
func needsRemove(r Rig) string {
	return needs(r.RemoveContainer != nil, "cannot remove containers from outside")
}
func needsStranger(r Rig) string {
	return needs(r.PlantStranger != nil, "cannot run containers of others")
}
func needsPlant(r Rig) string {
	return needs(r.PlantResources != nil, "cannot leave resources behind")
}
func needsHang(r Rig) string  { return needs(r.Remote.Hang != nil, "has no remote that can hang") }
func needsProxy(r Rig) string { return needs(r.Remote.Hidden != "", "has no remote behind a proxy") }
func needsBreak(r Rig) string { return needs(r.BreakMirror != nil, "cannot break mirrors") }
func needsCut(r Rig) string   { return needs(r.CutConnections != nil, "cannot cut connections") }

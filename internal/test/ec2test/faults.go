package ec2test

import (
	"cmp"
	"fmt"
	"time"
)

// fault is the fault of one call. The zero fault is no fault.
type fault struct {
	delay time.Duration
	hang  bool
	lost  moment
	code  string // the code of the error in the answer; the call then has no effect
}

type moment int

const (
	never moment = iota
	before
	after
)

// message returns the message of an injected error.
func (f fault) message() string {
	return cmp.Or(messages[f.code], "ec2test: the test asked for this error")
}

type faults struct {
	next map[string][]fault // by action
}

// pick removes and returns the fault of the next call of an action.
func (f *faults) pick(action string) fault {
	promised := f.next[action]
	if len(promised) == 0 {
		return fault{}
	}
	f.next[action] = promised[1:]
	return promised[0]
}

func (s *Server) promise(action string, n int, f fault) {
	if _, ok := actions[action]; !ok {
		panic(fmt.Sprintf("ec2test: no action is named %q here", action))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.faults.next[action] = append(s.faults.next[action], f)
	}
}

// LoseRequests resets the connection of the next n calls of an action before they have an effect. For this and the
// other faults of calls, each try of the SDK is a call, and faults are used up in the order in which they were added.
func (s *Server) LoseRequests(action string, n int) { s.promise(action, n, fault{lost: before}) }

// LoseAnswers resets the connection of the next n calls of an action after they had their effect.
func (s *Server) LoseAnswers(action string, n int) { s.promise(action, n, fault{lost: after}) }

// Hang makes the next n calls of an action wait until the client gives up. They have no effect.
func (s *Server) Hang(action string, n int) { s.promise(action, n, fault{hang: true}) }

// Slow makes the next n calls of an action take longer, before their effect. They have their effect even if the client
// gives up meanwhile.
func (s *Server) Slow(action string, n int, by time.Duration) { s.promise(action, n, fault{delay: by}) }

// Fail makes the next n calls of an action fail without an effect. code is, for example, "InternalError" (HTTP status
// 500), "Unavailable" (503) or "RequestLimitExceeded" (503).
func (s *Server) Fail(action string, n int, code string) { s.promise(action, n, fault{code: code}) }

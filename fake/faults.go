package fake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// errLost is the error of a lost reply: the caller cannot know whether the call had an effect.
var errLost = errors.New("connection reset by peer")

// A Fault is the fault of one call. The zero Fault is no fault.
type Fault struct {
	Delay  time.Duration // added to the call's own latency, before its effect
	Deaf   bool          // the call waits for all of Delay, even if the context ends
	Hang   bool          // the call waits until its context ends and has no effect
	Before error         // returned instead of having an effect
	After  error         // returned although the call had its effect
	// HangAfter makes the call wait until its context ends, after it had its effect.
	HangAfter bool
	// Done, if not nil, is called after the call's effect and before the call returns. It must not block.
	Done func()
}

// Faults makes calls fail, and counts them. It is a part of Cloud and of Engine, and is not used by itself. With a hook
// it remembers each Call, without N, for its whole life.
type Faults struct {
	hook  func(Call) Fault
	calls map[Verb]*atomic.Int64 // one per verb, never changed
	armed atomic.Bool            // whether hook, next or hung is set: keeps the usual path cheap

	mu   sync.Mutex // protects the fields below; never held while waiting
	next map[Verb][]Fault
	hung map[Verb]bool
	seen map[Call]int // calls so far, by everything but N
}

func (f *Faults) init(hook func(Call) Fault, verbs ...Verb) {
	f.hook = hook
	f.armed.Store(hook != nil)
	f.calls = make(map[Verb]*atomic.Int64, len(verbs))
	for _, v := range verbs {
		f.calls[v] = new(atomic.Int64)
	}
	f.next, f.hung, f.seen = map[Verb][]Fault{}, map[Verb]bool{}, map[Call]int{}
}

// Calls returns how many calls of a verb were made, including those that failed.
func (f *Faults) Calls(v Verb) int {
	return int(f.counter(v).Load())
}

// Next gives each of the next n calls of a verb the same fault, after the faults that are due already.
func (f *Faults) Next(v Verb, n int, fault Fault) {
	f.counter(v)
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		f.next[v] = append(f.next[v], fault)
	}
	f.armed.Store(true)
}

// Fail makes the next n calls of a verb fail with err before they have an effect.
func (f *Faults) Fail(v Verb, n int, err error) { f.Next(v, n, Fault{Before: err}) }

// LoseReplies makes the next n calls of a verb have their effect and fail nevertheless, with an error that says
// nothing about it.
func (f *Faults) LoseReplies(v Verb, n int) { f.Next(v, n, Fault{After: errLost}) }

// Hang makes every call of a verb wait until its context ends and have no effect, until Resume. Resume does not end the
// wait of a call.
func (f *Faults) Hang(v Verb) { f.setHung(v, true) }

// Resume undoes Hang.
func (f *Faults) Resume(v Verb) { f.setHung(v, false) }

func (f *Faults) setHung(v Verb, hung bool) {
	f.counter(v)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hung[v] = hung
	f.armed.Store(true)
}

// heal forgets every fault except those of the hook.
func (f *Faults) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.next)
	clear(f.hung)
	f.armed.Store(f.hook != nil)
}

func (f *Faults) counter(v Verb) *atomic.Int64 {
	n := f.calls[v]
	if n == nil {
		panic(fmt.Sprintf("fake: no call is named %q here", v))
	}
	return n
}

// pick decides the fault of a call, and how far apart the call is from others; see reply.
func (f *Faults) pick(ctx context.Context, call Call) (Fault, time.Duration) {
	f.mu.Lock()
	var apart time.Duration
	if f.hook != nil {
		f.seen[call]++
		call.N = f.seen[call]
		apart = call.apart()
	}
	var fault Fault
	promised := f.next[call.Verb]
	if len(promised) > 0 {
		fault, f.next[call.Verb] = promised[0], promised[1:]
	}
	if f.hung[call.Verb] {
		fault.Hang = true
	}
	f.mu.Unlock()
	if len(promised) == 0 && f.hook != nil {
		_, call.Bounded = ctx.Deadline()
		hooked := f.hook(call)
		hooked.Hang = hooked.Hang || fault.Hang
		return hooked, apart
	}
	return fault, apart
}

// begin counts a call and waits for the moment of its effect: half of its latency and the delay of its fault. cut ends
// the wait as the context does, with errCut; a nil cut never does. The call may have an effect only if err is nil. Its
// result then passes through finish.
func (f *Faults) begin(ctx context.Context, call Call, latency time.Duration, cut <-chan struct{}) (reply, error) {
	f.counter(call.Verb).Add(1)
	if !f.armed.Load() {
		if latency <= 0 {
			return reply{}, context.Cause(ctx)
		}
		return reply{rest: latency - latency/2, cut: cut}, sleep(ctx, latency/2, cut)
	}
	fault, apart := f.pick(ctx, call)
	r := reply{rest: latency - latency/2, cut: cut, apart: apart, after: fault.After, hang: fault.HangAfter, done: fault.Done}
	if fault.Deaf {
		time.Sleep(fault.Delay)
		fault.Delay = 0
	}
	if err := sleep(ctx, fault.Delay+latency/2, cut); err != nil {
		return r, err
	}
	if fault.Hang {
		return r, hang(ctx, cut)
	}
	return r, fault.Before
}

// A reply is the rest of a call after its effect.
type reply struct {
	rest  time.Duration
	cut   <-chan struct{}
	after error
	hang  bool
	done  func()
	// apart is a time that hardly any other call has. A call that was woken by another call waits for this time, so
	// that the two do not continue at the same instant in an undefined order. It is 0 without a hook.
	apart time.Duration
}

// woken is called when a wait has ended that another call may have ended.
func (r reply) woken() {
	if r.apart > 0 {
		time.Sleep(r.apart)
	}
}

// finish waits from the call's effect to its end. If the context ends meanwhile, the result is lost, as over a network.
func (r reply) finish(ctx context.Context, err error) error {
	if r.done != nil {
		r.done()
	}
	if r.rest > 0 {
		if late := sleep(ctx, r.rest, r.cut); late != nil && err == nil {
			err = late
		}
	}
	if r.hang {
		return hang(ctx, r.cut)
	}
	if r.after != nil && err == nil {
		return r.after
	}
	return err
}

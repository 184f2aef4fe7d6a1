// Package credential passes on what the gits of sessions ask for: git asks a helper, which is the agent's program in the session's
// room. The helper asks the agent by a socket in the session's own directory, and the agent hands the question to a client. This
// package keeps nothing of an answer.
package credential

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// Times of a question.
const (
	patience = 20 * time.Second // how long one waits for a client that takes it: a client may be connecting again
	overdue  = 30 * time.Second // after which a question that a client has taken is given to another one, too
	longest  = 2 * time.Minute  // how long git waits for an answer in any case
)

// ErrNobody is the error of a question that no client has taken.
var ErrNobody = fmt.Errorf("no program of the pool is connected with this container, so that there is nobody to ask: waited for %v", patience)

var errNoAnswer = fmt.Errorf("the program of the pool has not answered within %v", longest)

// A Desk has the questions that are not answered yet. The zero value has none. All methods are safe for concurrent use.
type Desk struct {
	// Away returns for how long a client has been away, by the name that Take was called with. nil = no client is ever away.
	Away func(client string) time.Duration

	mu      sync.Mutex // protects what follows
	open    []*question
	number  uint64        // of the question that was handed out last
	changed chan struct{} // closed when open has grown; nil = nobody waits
	takers  int           // calls of Take that wait
	last    time.Time     // when the last of them returned
}

// question is one that waits for its answer.
type question struct {
	wire.Question
	client string    // that has it; "" = none
	handed time.Time // when it got it
	answer chan wire.Answer
}

// Ask waits for the answer to a question.
func (d *Desk) Ask(ctx context.Context, ask wire.Question) (wire.Answer, error) {
	q := &question{Question: ask, answer: make(chan wire.Answer, 1)}
	q.ID = rand.Text()
	d.add(q)
	defer d.remove(q)
	tick := time.NewTicker(patience / 10)
	defer tick.Stop()
	for asked := time.Now(); ; {
		select {
		case a := <-q.answer:
			return a, nil
		case <-ctx.Done():
			return wire.Answer{}, context.Cause(ctx)
		case <-tick.C:
		}
		switch waited := time.Since(asked); {
		case waited > longest:
			return wire.Answer{}, errNoAnswer
		case waited > patience && d.unwanted(q):
			return wire.Answer{}, ErrNobody
		}
	}
}

func (d *Desk) add(q *question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, q)
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

func (d *Desk) remove(q *question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = slices.DeleteFunc(d.open, func(other *question) bool { return other == q })
}

// unwanted reports whether no client has a question, and none has looked for questions lately.
func (d *Desk) unwanted(q *question) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return (q.client == "" || d.gone(q.client)) && d.takers == 0 && time.Since(d.last) > patience
}

func (d *Desk) gone(client string) bool { return d.Away != nil && d.Away(client) > 0 }

// Take hands questions out to a client, and waits up to wire.Poll for one. The client has all that were handed out to it up to the
// number seen. A question that another client has is handed out once more if that client is away, or does not answer for long.
func (d *Desk) Take(ctx context.Context, client string, seen uint64) []wire.Question {
	end := time.NewTimer(wire.Poll)
	defer end.Stop()
	tick := time.NewTicker(time.Second) // other clients go away, and do not say so here
	defer tick.Stop()
	d.mu.Lock()
	d.takers++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.takers, d.last = d.takers-1, time.Now()
		d.mu.Unlock()
	}()
	for {
		some, changed := d.take(client, seen)
		if len(some) > 0 {
			return some
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-end.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *Desk) take(client string, seen uint64) (some []wire.Question, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.open {
		switch {
		case q.client == "":
		case q.client == client && q.Number > seen: // the answer that had it was lost
		case time.Since(q.handed) > overdue:
		case q.client != client && d.gone(q.client):
		default:
			continue
		}
		d.number++
		q.client, q.handed, q.Number = client, time.Now(), d.number
		if some = append(some, q.Question); len(some) == wire.MostQuestions {
			break
		}
	}
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	return some, d.changed
}

// Answer answers a question. It does nothing if that was answered, or is not wanted any more.
func (d *Desk) Answer(id string, a wire.Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.open {
		if q.ID == id {
			select {
			case q.answer <- a:
			default: // it has one
			}
		}
	}
}

// refusal returns what git is told of an error.
func refusal(err error) string {
	if errors.Is(err, context.Canceled) {
		return "the session has ended"
	}
	return cmp.Or(err.Error(), "no reason is known")
}

package fake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/agent"
)

// questions are those of the gits in a container, for credentials. The node's mu protects them.
type questions struct {
	open   []*question
	number uint64
	taken  time.Time     // when the last caller that took questions returned
	takers int           // callers that wait for questions
	more   chan struct{} // closed when there are more; nil = nobody waits
}

type question struct {
	agent.Question
	by     *inside // that has it; nil = none
	at     time.Time
	answer chan agent.Answer
}

// Times of a question, as real agents have them.
const (
	nobodyAfter  = 20 * time.Second
	overdueAfter = 30 * time.Second
	answerWithin = 2 * time.Minute
)

var (
	errNoHelper = errors.New("fake: the session's git asks for no credential: its pool has no Config.Credentials")
	errNobody   = fmt.Errorf("fake: no program of the pool is connected with this container, so that there is nobody to ask: waited for %v", nobodyAfter)
	errNoAnswer = fmt.Errorf("fake: the program of the pool has not answered within %v", answerWithin)
	errOver     = errors.New("fake: the session has ended")
)

// credential is Command.Credential.
func (p *process) credential(ctx context.Context, ask agent.Question) (agent.Answer, error) {
	c, n := p.inside.container, p.inside.container.node
	q := &question{Question: ask, answer: make(chan agent.Answer, 1)}
	q.Session = p.session.id
	n.mu.Lock()
	switch {
	case !p.session.asks && len(ask.SSH) == 0:
		n.mu.Unlock()
		return agent.Answer{}, errNoHelper
	case isClosed(p.ended):
		n.mu.Unlock()
		return agent.Answer{}, errOver
	}
	c.asked++
	q.ID = fmt.Sprintf("%s-q%d", p.session.id, c.asked)
	c.questions.open = append(c.questions.open, q)
	c.questions.wake()
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		c.questions.open = slices.DeleteFunc(c.questions.open, func(other *question) bool { return other == q })
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for asked := time.Now(); ; {
		select {
		case a := <-q.answer:
			n.mu.Lock()
			p.session.begun.given.Add("a password that git was given", a.Password)
			n.mu.Unlock()
			return a, nil
		case <-p.ended:
			return agent.Answer{}, errOver
		case <-ctx.Done():
			return agent.Answer{}, context.Cause(ctx)
		case <-tick.C:
		}
		waited := time.Since(asked)
		n.mu.Lock()
		alone := c.questions.takers == 0 && time.Since(c.questions.taken) > nobodyAfter && (q.by == nil || q.by.ended.Load())
		n.mu.Unlock()
		switch {
		case waited > answerWithin:
			return agent.Answer{}, errNoAnswer
		case waited > nobodyAfter && alone:
			return agent.Answer{}, errNobody
		}
	}
}

func (qs *questions) wake() {
	if qs.more != nil {
		close(qs.more)
		qs.more = nil
	}
}

// asker is the part of an inside that has to do with questions.
type asker struct{ *inside }

// Questions is no Call: it waits, and sees no fault but a host that cannot be reached.
func (a asker) Questions(ctx context.Context, seen uint64) ([]agent.Question, error) {
	i := a.inside
	n, qs, r := i.container.node, &i.container.questions, reply{cut: i.done}
	n.mu.Lock()
	qs.takers++
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		qs.takers, qs.taken = qs.takers-1, time.Now()
	}()
	for {
		n.mu.Lock()
		err := i.alive()
		var some []agent.Question
		if err == nil {
			some = a.take(seen)
		}
		if qs.more == nil {
			qs.more = make(chan struct{})
		}
		more, open := qs.more, len(qs.open) > 0
		n.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case len(some) > 0:
			return some, i.explain(n.reachable(ctx, r, i.host.endpoint.Address))
		}
		var again <-chan time.Time // those that others have may be left to this one
		if open {
			again = time.After(time.Second)
		}
		select {
		case <-more:
		case <-again:
		case <-i.done:
			return nil, i.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take hands questions out. The caller holds the node's mu.
func (a asker) take(seen uint64) (some []agent.Question) {
	i := a.inside
	qs := &i.container.questions
	for _, q := range qs.open {
		if q.by == nil || q.by.ended.Load() || q.by == i && q.Number > seen || time.Since(q.at) > overdueAfter {
			qs.number++
			q.by, q.at, q.Number = i, time.Now(), qs.number
			some = append(some, q.Question)
		}
	}
	return some
}

// AnswerQuestion implements [orchestrator.Inside].
func (a asker) AnswerQuestion(ctx context.Context, id string, answer agent.Answer) error {
	i := a.inside
	r, err := i.begin(ctx, AnswerQuestion, "", i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return err
	}
	n := i.container.node
	n.mu.Lock()
	if err = i.alive(); err == nil {
		for _, q := range i.container.questions.open {
			if q.ID == id {
				select {
				case q.answer <- answer:
				default: // it has one
				}
			}
		}
	}
	n.mu.Unlock()
	return i.finish(ctx, r, err)
}

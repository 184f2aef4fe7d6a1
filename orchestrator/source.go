package orchestrator

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// A Source is asked for the credential of a fetch.
type Source struct {
	// Ask returns it. Both parts may be empty: then there is none. rejected says that the remote has refused what Ask returned last for
	// this fetch.
	Ask func(ctx context.Context, rejected bool) (username, password string, err error)
}

// fetchWith fetches with a credential. If the remote refuses what the Source has given, which may have expired, the Source is asked once
// more.
func (m *Manager) fetchWith(ctx context.Context, c *store.Container, inside Inside, cred Credential, f agent.Fetch) (agent.Mirror, error) {
	if cred.Source == nil {
		f.Username, f.Password = cred.Username, cred.Password
		return m.fetch(ctx, c, inside, f)
	}
	for rejected := false; ; rejected = true {
		var err error
		if f.Username, f.Password, err = cred.Source.Ask(ctx, rejected); err != nil {
			return agent.Mirror{}, err
		}
		mirror, err := m.fetch(ctx, c, inside, f)
		failed, ok := errors.AsType[*agent.GitError](err)
		if rejected || !ok || f.Username+f.Password == "" || !gitremote.Refused(failed.Message) {
			return mirror, err
		}
	}
}

// mostAnswers bounds the questions of one container that are being answered at once. The others wait.
const mostAnswers = 64

// answer answers the questions of the gits in a container, until ctx ends.
func (k *keeper) answer(ctx context.Context, c *store.Container) {
	var all sync.WaitGroup
	defer all.Wait()
	turns := make(chan struct{}, mostAnswers)
	for seen := uint64(0); ctx.Err() == nil; {
		some, err := k.inside.Questions(ctx, seen)
		switch {
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, agent.ErrGone), errors.Is(err, agent.ErrClosed):
			return
		case err != nil:
			_ = loop.Sleep(ctx, time.Second)
		}
		for _, q := range some {
			seen = q.Number
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				return
			}
			all.Go(func() {
				defer func() { <-turns }()
				k.answerOne(ctx, c, q)
			})
		}
	}
}

func (k *keeper) answerOne(ctx context.Context, c *store.Container, q agent.Question) {
	a := k.m.cfg.Answer(ctx, *c, q)
	if ctx.Err() != nil {
		return // another process is asked
	}
	ctx, cancel := context.WithTimeout(ctx, k.m.cfg.CallTimeout)
	defer cancel()
	if err := k.inside.AnswerQuestion(ctx, q.ID, a); err != nil && ctx.Err() == nil && !errors.Is(err, agent.ErrGone) {
		k.m.failures.Report("cannot answer a session's git", err, "session", q.Session)
	}
}

package pool

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/berth-go/berth/store"
)

const (
	explainTimeout = 10 * time.Second // of Explain: the instance that failed costs money meanwhile
	maxExplanation = 1000             // bytes of an explanation that are kept: its end
)

// explain retires an instance that did not boot, and adds to the reason what the cloud knows of it.
func (r *run) explain(ctx context.Context, cloud Explainer, a action) error {
	callCtx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	text, err := cloud.Explain(callCtx, a.cloudID)
	if err != nil {
		r.failures.Report("cannot learn why an instance did not boot", err, "instance", a.instance, "machine", a.cloudID)
	}
	if text = cleanTail(text); text != "" {
		a.reason += ". Its machine says: " + text
	}
	return r.change(ctx, a)
}

// cleanTail returns the end of a text, without characters that could disturb a terminal or a log.
func cleanTail(text string) string {
	if len(text) > maxExplanation {
		text = "…" + text[len(text)-maxExplanation:]
	}
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '\n':
			return c
		case c == '\t':
			return ' '
		case !unicode.IsPrint(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(text, ""))
	return strings.TrimSpace(text)
}

// storeLaunchError stores why a launch has no outcome yet, for sessions that give up while they wait for an instance. It
// does not count a failure.
func (r *run) storeLaunchError(ctx context.Context, id string, cause error) {
	if ctx.Err() != nil {
		return
	}
	reason := cleanTail(cause.Error())
	r.mu.Lock()
	obs := r.observationOf(id, time.Now())
	stored := obs.launchErr == reason
	obs.launchErr = reason
	r.mu.Unlock()
	if !stored {
		r.storeReason(ctx, reason)
	}
}

// refusedReason begins the reason why nothing is launched while the cloud refuses the credentials.
const refusedReason = "the cloud refuses the credentials: "

// Refusal returns why the cloud refuses the credentials, as the Manager that runs has stored it; "" = it accepts them, or no
// session waits for an instance. Stats of that Manager tells of it at once.
func Refusal(pool *store.Pool) string {
	if why, refused := strings.CutPrefix(pool.LaunchFailure, refusedReason); refused {
		return why
	}
	return ""
}

// storeRefusal stores, while a session waits, that nothing is launched because the cloud refuses the credentials. It
// removes that reason once the cloud accepts them.
func (r *run) storeRefusal(ctx context.Context, s *snapshot) {
	r.mu.Lock()
	why := r.refusalReason()
	r.mu.Unlock()
	stored := strings.HasPrefix(s.pool.LaunchFailure, refusedReason)
	switch {
	case s.refused && s.demand > 0 && !stored && why != "":
		r.storeReason(ctx, refusedReason+cleanTail(why))
	case stored && why == "" && !s.refused:
		r.storeReason(ctx, "")
	}
}

// storeReason changes the pool's LaunchFailure alone.
func (r *run) storeReason(ctx context.Context, reason string) {
	err := r.store.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil || pool.LaunchFailure == reason {
			return err
		}
		pool.LaunchFailure = reason
		return tx.Put(pool)
	})
	if err != nil {
		r.failures.Report("cannot store why nothing is launched", err)
	}
}

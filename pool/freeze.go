package pool

import (
	"context"
	"errors"
	"slices"
	"time"
)

// How long a refusal of the credentials counts if nothing else is heard, and how often the cloud is then asked for its
// list: asking again soon cannot help, and the credentials may be renewed at any time.
const (
	freezeFor  = time.Minute
	freezeLook = 30 * time.Second
)

// A call is a sort of call to the cloud, with the permissions that it needs.
type call int

const (
	callList call = iota
	callLaunch
	callEnd
	calls
)

// refusal is when and why the cloud last refused the credentials of a sort of call; zero = it accepted the last one.
type refusal struct {
	until  time.Time
	reason string
}

// heard notes whether the cloud accepts the credentials, as far as the outcome of a call tells. While it does not,
// nothing is launched or ended, and no instance is given up for what cannot be asked.
func (m *Manager) heard(c call, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case errors.Is(err, ErrAuth):
		m.refused[c] = refusal{time.Now().Add(freezeFor), err.Error()}
	case err == nil:
		m.refused[c] = refusal{}
	}
	if errors.Is(err, ErrThrottled) {
		m.throttles.Add(1)
	}
}

// frozen reports whether nothing is launched or ended now. The caller holds mu.
func (m *Manager) frozen(now time.Time) bool {
	return slices.ContainsFunc(m.refused[:], func(r refusal) bool { return r.until.After(now) })
}

// refusals says why the cloud refuses a sort of call; "" = it accepted the last one of each. The caller holds mu.
func (m *Manager) refusals() string {
	for _, r := range m.refused {
		if r.reason != "" {
			return r.reason
		}
	}
	return ""
}

// conditions are what an operator should know of the whole pool.
type conditions struct {
	frozen             string
	cutOff, doubtful   bool
	strangers, foreign int
	rival              bool
}

// tell logs what has changed in the conditions of the pool.
func (r *run) tell(ctx context.Context) {
	r.mu.Lock()
	was, is := r.told, r.is
	r.told = is
	r.mu.Unlock()
	log := r.cfg.Logger
	switch {
	case is.frozen != "" && was.frozen == "":
		log.ErrorContext(ctx, "the cloud refuses the credentials: nothing is launched or ended but for a try now and then", "err", is.frozen)
	case is.frozen == "" && was.frozen != "":
		log.InfoContext(ctx, "the cloud accepts the credentials again")
	}
	switch {
	case is.cutOff && !was.cutOff:
		log.ErrorContext(ctx, "many instances do not answer: this process may be cut off, and none is given up for that alone")
	case was.cutOff && !is.cutOff:
		log.InfoContext(ctx, "enough instances answer again")
	}
	switch {
	case is.doubtful && !was.doubtful:
		log.ErrorContext(ctx, "the cloud's list lacks many instances at once: it may be that of another account or region, and nothing is concluded from it")
	case was.doubtful && !is.doubtful:
		log.InfoContext(ctx, "what the cloud lists is believed again")
	}
	switch {
	case is.foreign == 0 || was.foreign > 0:
	case r.cfg.ForeignGrace > 0 && !is.rival:
		log.WarnContext(ctx, "machines carry this pool's name and the identity of another store: they are ended after ForeignGrace", "machines", is.foreign, "grace", r.cfg.ForeignGrace)
	default:
		log.WarnContext(ctx, "machines carry this pool's name and the identity of another store: they are left alone, and end themselves if they have a dead man's switch. If that store is lost, end them by hand, or let ForeignGrace (EC2Config.EndForeignAfter) do so", "machines", is.foreign)
	}
	if is.rival && !was.rival && r.cfg.ForeignGrace > 0 {
		log.ErrorContext(ctx, "another store that is in use launches machines with this pool's name: none of them is ended, in spite of ForeignGrace. Give each pool a name of its own")
	}
	if is.strangers > 0 && was.strangers == 0 {
		log.WarnContext(ctx, "machines of this pool are known to no record: they are ended after OrphanGrace", "machines", is.strangers)
	}
}

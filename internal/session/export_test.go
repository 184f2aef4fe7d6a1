package session

import (
	"context"

	"github.com/berth-go/berth/store"
)

// LeadOnce does once what Lead does about sessions that expired and about those that ended long ago. It returns what came
// of each session that was due.
func (m *Manager) LeadOnce(ctx context.Context, held store.Lease) (expired map[string]error, removed error) {
	l := &leader{Manager: m, fenced: store.Fenced(m.cfg.Store, held)}
	expired = make(map[string]error)
	due, err := l.due(ctx)
	if err != nil {
		expired[""] = err
	}
	for _, id := range due {
		expired[id] = m.end(ctx, id, store.Failure{Reason: store.EndExpired})
	}
	return expired, l.removeOld(ctx)
}

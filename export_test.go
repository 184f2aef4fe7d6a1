package berth

import (
	"context"
	"time"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// NewEC2WithEngine is NewEC2SharedProvider, with instances that another engine answers for.
func NewEC2WithEngine(ctx context.Context, cfg Config, engine orchestrator.Engine) (*Provider, error) {
	return newEC2(ctx, cfg, func(*Config, *hostboot.Clients) orchestrator.Engine { return engine })
}

// ReapUnder does once what the reaper does about sessions that expired and about those that ended long ago, under a
// lease of the planner that may have passed to another process.
func (p *Provider) ReapUnder(ctx context.Context, held store.Lease) (expired map[string]error, removed error) {
	r := &reaper{Provider: p, held: held}
	p.plans.Store(&held)
	expired = make(map[string]error)
	for s, err := range store.Sessions(ctx, p.store, store.SessionQuery{LeaseBefore: time.Now()}) {
		if err == nil {
			err = p.endSession(ctx, s.ID, store.Failure{Reason: endExpired})
		}
		expired[s.ID] = err
	}
	return expired, r.removeOld(ctx)
}

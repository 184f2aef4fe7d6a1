package berth

import (
	"context"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/orchestrator"
)

// NewEC2WithEngine is NewEC2SharedProvider, with instances that another engine answers for.
func NewEC2WithEngine(ctx context.Context, cfg Config, engine orchestrator.Engine) (*Provider, error) {
	return newEC2(ctx, cfg, func(*Config, *hostboot.Clients) orchestrator.Engine { return engine })
}

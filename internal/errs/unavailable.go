package errs

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// Unavailable names an error of what reaches an engine or an agent ErrUnavailable, unless it says something else.
func Unavailable(ctx context.Context, err error) error {
	_, named := errors.AsType[*orchestrator.StartFailure](err)
	for _, name := range []error{
		ErrUnavailable, agent.ErrGone, agent.ErrClosed, agent.ErrUnknownSession, agent.ErrOverLimit, agent.ErrIncompatible, orchestrator.ErrWrongHost,
	} {
		named = named || errors.Is(err, name)
	}
	if named || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

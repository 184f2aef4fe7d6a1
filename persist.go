package berth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/store"
)

// persist is an Update that is tried again while it is not known what became of it. fn must bear being committed twice.
// An error that is not fn's own is store.ErrUnknownOutcome, too, if an earlier try may have been committed.
func (p *Provider) persist(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	var own error // of the last run of fn
	run := func(tx store.Tx) error {
		own = fn(tx)
		return own
	}
	unknown := false
	for pause := poll / 10; ; pause = min(2*pause, 5*time.Second) {
		own = nil
		err := p.store.Update(ctx, keys, run)
		switch {
		case err == nil, own != nil: // fn has looked at what is stored now
			return err
		case !errors.Is(err, store.ErrUnknownOutcome):
			if unknown {
				err = fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
			}
			return err
		case ctx.Err() != nil:
			return err
		}
		unknown = true
		p.failed("the store does not say whether it has written; trying again", err, "key", keys[0].String())
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

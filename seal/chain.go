package seal

import (
	"context"
	"errors"
)

// Chain returns a Sealer that seals with current, and opens what current or any of the old ones has sealed: the way from
// one kind of Sealer to another. For a new key of AES, give the old one to [AES].
func Chain(current Sealer, old ...Sealer) Sealer {
	return chain(append([]Sealer{current}, old...))
}

type chain []Sealer

// Seal implements [Sealer].
func (c chain) Seal(ctx context.Context, plain, about []byte) ([]byte, error) {
	return c[0].Seal(ctx, plain, about)
}

// Open implements [Sealer]. A Sealer that could not be asked is no reason to take the secret for lost.
func (c chain) Open(ctx context.Context, sealed, about []byte) ([]byte, error) {
	var unclear error
	for _, s := range c {
		plain, err := s.Open(ctx, sealed, about)
		switch {
		case err == nil:
			return plain, nil
		case !errors.Is(err, ErrUnsealable) && unclear == nil:
			unclear = err
		}
	}
	if unclear != nil {
		return nil, unclear
	}
	return nil, ErrUnsealable
}

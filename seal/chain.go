package seal

import (
	"context"
	"errors"
)

// Chain returns a Sealer that seals with current, and opens secrets that current or one of the old Sealers has sealed. Use
// it to go from one kind of Sealer to another. To replace a key of AES, give the old key to [AES].
func Chain(current Sealer, old ...Sealer) Sealer {
	return chain(append([]Sealer{current}, old...))
}

type chain []Sealer

// Seal implements [Sealer].
func (c chain) Seal(ctx context.Context, plain, about []byte) ([]byte, error) {
	return c[0].Seal(ctx, plain, about)
}

// Open implements [Sealer]. If a Sealer fails otherwise than by ErrUnsealable, the secret is not taken for lost.
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

package seal_test

import (
	"context"
	"errors"
	"testing"

	"github.com/berth-go/berth/seal"
)

// silent is a Sealer that always fails.
type silent struct{ error }

func (s silent) Seal(context.Context, []byte, []byte) ([]byte, error) { return nil, s.error }
func (s silent) Open(context.Context, []byte, []byte) ([]byte, error) { return nil, s.error }

func TestChainOpensWhatTheOldOnesSealed(t *testing.T) {
	current, old, away := sealer(t, key(1)), sealer(t, key(2)), silent{errors.New("away")}
	sealed, err := old.Seal(t.Context(), []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		rule  string
		chain seal.Sealer
		want  error
	}{
		{"an old one opens it", seal.Chain(current, old), nil},
		{"one that cannot be asked is passed over", seal.Chain(current, away, old), nil},
		{"nobody knows the key", seal.Chain(current), seal.ErrUnsealable},
		{"one that cannot be asked may know it", seal.Chain(current, away), away.error},
	} {
		got, err := test.chain.Open(t.Context(), sealed, nil)
		if !errors.Is(err, test.want) || err == nil && string(got) != "secret" {
			t.Errorf("%s: %q, %v; want %v", test.rule, got, err, test.want)
		}
	}
	if sealed, err = seal.Chain(current, old).Seal(t.Context(), []byte("secret"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := current.Open(t.Context(), sealed, nil); err != nil {
		t.Errorf("the current one has not sealed: %v", err)
	}
}

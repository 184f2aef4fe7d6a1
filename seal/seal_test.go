package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/berth-go/berth/seal"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, seal.KeySize) }

func sealer(t *testing.T, k []byte, old ...[]byte) seal.Sealer {
	t.Helper()
	s, err := seal.AES(k, old...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsSealedComesBack(t *testing.T) {
	s := sealer(t, key(1))
	for _, plain := range [][]byte{nil, []byte("a short secret"), bytes.Repeat([]byte("long"), 10000)} {
		sealed, err := s.Seal(t.Context(), plain, []byte("launch/1"))
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) > 0 && bytes.Contains(sealed, plain) {
			t.Error("it can be read as it is")
		}
		got, err := s.Open(t.Context(), sealed, []byte("launch/1"))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%q, %v; want %q", got, err, plain)
		}
		again, err := s.Seal(t.Context(), plain, []byte("launch/1"))
		if err != nil || bytes.Equal(again, sealed) {
			t.Errorf("sealed twice, it is the same: %v", err)
		}
	}
}

func TestOnlyTheKeyAndThePlaceOpen(t *testing.T) {
	sealed, err := sealer(t, key(1)).Seal(t.Context(), []byte("secret"), []byte("launch/1"))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, s seal.Sealer, sealed []byte, about string) {
		t.Helper()
		if got, err := s.Open(t.Context(), sealed, []byte(about)); !errors.Is(err, seal.ErrUnsealable) || got != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	refused("another key", sealer(t, key(2)), sealed, "launch/1")
	refused("another place", sealer(t, key(1)), sealed, "launch/2")
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		refused("a changed byte", sealer(t, key(1)), changed, "launch/1")
		refused("cut off", sealer(t, key(1)), sealed[:i], "launch/1")
	}
}

func TestKeysCanBeReplaced(t *testing.T) {
	before, err := sealer(t, key(1)).Seal(t.Context(), []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	both := sealer(t, key(2), key(1))
	if got, err := both.Open(t.Context(), before, nil); err != nil || string(got) != "secret" {
		t.Errorf("with the old key kept: %q, %v", got, err)
	}
	after, err := both.Seal(t.Context(), []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sealer(t, key(2)).Open(t.Context(), after, nil); err != nil || string(got) != "secret" {
		t.Errorf("with the new key alone: %q, %v", got, err)
	}
}

func TestKeyOfAnotherSizeIsRefused(t *testing.T) {
	for _, k := range [][]byte{nil, key(1)[1:], append(key(1), 1)} {
		if _, err := seal.AES(k); err == nil {
			t.Errorf("a key of %d bytes is taken", len(k))
		}
		if _, err := seal.AES(key(1), k); err == nil {
			t.Errorf("an old key of %d bytes is taken", len(k))
		}
	}
}

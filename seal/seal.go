// Package seal encrypts what must not be read in the store: the keys that let somebody into an instance.
package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// A Sealer encrypts small secrets, and decrypts what it or another Sealer with the same key has encrypted. All methods
// are safe for concurrent use.
type Sealer interface {
	// Seal encrypts plain. about says what it is and whose, such as a launch ID: Open must be given the same, so that
	// one secret cannot be put in the place of another.
	Seal(ctx context.Context, plain, about []byte) ([]byte, error)
	// Open decrypts what Seal returned. ErrUnsealable: no key that is known here fits, or it was changed.
	Open(ctx context.Context, sealed, about []byte) ([]byte, error)
}

// ErrUnsealable says that a sealed secret cannot be opened.
var ErrUnsealable = errors.New("seal: no key that is known here opens this secret")

// KeySize is the size in bytes of a key of AES.
const KeySize = 32

const (
	version = 1 // the first byte of what is sealed
	idSize  = 8 // then comes the key's ID, then the nonce
)

type aesSealer struct {
	current [idSize]byte
	keys    map[[idSize]byte]cipher.AEAD
}

// AES returns a Sealer that uses AES-256-GCM. It seals with key and opens with old ones too, so that a key can be
// replaced: add the new one in front and keep the old one until nothing is left that it has sealed. A key has KeySize
// random bytes.
func AES(key []byte, old ...[]byte) (Sealer, error) {
	s := &aesSealer{keys: make(map[[idSize]byte]cipher.AEAD), current: idOf(key)}
	for i, k := range append([][]byte{key}, old...) {
		if len(k) != KeySize {
			return nil, fmt.Errorf("seal: key %d has %d bytes, not %d", i, len(k), KeySize)
		}
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, fmt.Errorf("seal: key %d: %w", i, err)
		}
		if s.keys[idOf(k)], err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("seal: key %d: %w", i, err)
		}
	}
	return s, nil
}

// idOf names a key without telling anything of it.
func idOf(key []byte) (id [idSize]byte) {
	sum := sha256.Sum256(append([]byte("berth seal key "), key...))
	copy(id[:], sum[:])
	return id
}

// Seal implements [Sealer].
func (s *aesSealer) Seal(_ context.Context, plain, about []byte) ([]byte, error) {
	aead := s.keys[s.current]
	sealed := append([]byte{version}, s.current[:]...)
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	sealed = append(sealed, nonce...)
	return aead.Seal(sealed, nonce, plain, about), nil
}

// Open implements [Sealer].
func (s *aesSealer) Open(_ context.Context, sealed, about []byte) ([]byte, error) {
	if len(sealed) < 1+idSize || sealed[0] != version {
		return nil, ErrUnsealable
	}
	aead := s.keys[[idSize]byte(sealed[1:])]
	rest := sealed[1+idSize:]
	if aead == nil || len(rest) < aead.NonceSize() {
		return nil, ErrUnsealable
	}
	plain, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], about)
	if err != nil {
		return nil, ErrUnsealable
	}
	return plain, nil
}

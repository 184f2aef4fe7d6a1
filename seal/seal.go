// Package seal encrypts secrets in the store: the keys that give access to an instance.
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

// A Sealer encrypts small secrets, and decrypts secrets that it or another Sealer with the same key has encrypted. All
// methods are safe for concurrent use.
type Sealer interface {
	// Seal encrypts plain. about says what the secret belongs to, such as a launch ID. Open needs the same about, so that
	// one secret cannot be put in the place of another.
	Seal(ctx context.Context, plain, about []byte) ([]byte, error)
	// Open decrypts the result of Seal. ErrUnsealable: no known key fits, or sealed or about was changed.
	Open(ctx context.Context, sealed, about []byte) ([]byte, error)
}

// ErrUnsealable says that a sealed secret cannot be opened.
var ErrUnsealable = errors.New("seal: no known key opens this secret")

// KeySize is the size in bytes of a key of AES.
const KeySize = 32

const (
	version = 1 // the first byte of a sealed secret
	idSize  = 8 // of the key's ID, which comes next; then come the nonce and the ciphertext
)

type aesSealer struct {
	current [idSize]byte
	keys    map[[idSize]byte]cipher.AEAD
}

// AES returns a Sealer that uses AES-256-GCM. It seals with key, and opens with the old keys too. To replace a key, add the
// new one in front, and keep the old one until nothing is left that it has sealed. A key has KeySize random bytes.
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

// idOf returns an ID of a key that reveals nothing of it.
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

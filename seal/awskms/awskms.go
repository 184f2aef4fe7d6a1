// Package awskms seals what must not be read in the store with a key of AWS KMS.
//
// Each secret is encrypted with AES-256-GCM under a data key of its own, which KMS made and encrypted (envelope
// encryption), so a secret may have any size, and whoever can read the store but may not call KMS reads nothing. What the
// secret is about stands in the encryption context, under [ContextKey]: CloudTrail shows it, and a key policy can ask for it.
//
// A pool seals and opens once per launch; each process, at its start, seals once and opens once or twice.
// The process needs kms:GenerateDataKey on the key that seals, and kms:Decrypt on every key that has sealed.
//
// KMS rotates the material of a key by itself, and what was sealed before can still be opened. To go to another key,
// give its ID: what the old one has sealed names that, and is opened as long as kms:Decrypt on it is allowed.
// To come from another kind of Sealer, or to go to one, use [seal.Chain].
package awskms

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/berth-go/berth/seal"
)

// ContextKey is the name under which the encryption context says what a secret is about, such as a launch ID.
const ContextKey = "berth:about"

// API is what is used of [kms.Client].
type API interface {
	// GenerateDataKey makes a data key, and encrypts it under a key of KMS.
	GenerateDataKey(context.Context, *kms.GenerateDataKeyInput, ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error)
	// Decrypt decrypts a data key, if the encryption context is that with which it was made.
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
}

// version is the first byte of what is sealed here; other Sealers begin otherwise. Then come two bytes with the length of
// the encrypted data key, that key, the nonce and the ciphertext.
const (
	version = 'K'
	header  = 3
)

type sealer struct {
	api API
	key string
}

// New returns a Sealer that seals with the symmetric key of that ID, ARN or alias ("alias/berth"). Its errors are those of
// KMS, as the SDK has retried them. It is safe for concurrent use.
func New(api API, key string) seal.Sealer { return &sealer{api, key} }

func contextOf(about []byte) map[string]string {
	return map[string]string{ContextKey: strings.ToValidUTF8(string(about), "?")}
}

// Seal implements [seal.Sealer].
func (s *sealer) Seal(ctx context.Context, plain, about []byte) ([]byte, error) {
	made, err := s.api.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: &s.key, KeySpec: types.DataKeySpecAes256, EncryptionContext: contextOf(about),
	})
	if err != nil {
		return nil, fmt.Errorf("awskms: cannot get a data key of %q: %w", s.key, err)
	}
	defer clear(made.Plaintext)
	aead, err := aeadOf(made.Plaintext)
	if err != nil {
		return nil, err
	}
	wrapped := made.CiphertextBlob
	sealed := binary.BigEndian.AppendUint16([]byte{version}, uint16(len(wrapped)))
	sealed = append(sealed, wrapped...)
	return aead.Seal(sealed, nil, plain, about), nil
}

// Open implements [seal.Sealer].
func (s *sealer) Open(ctx context.Context, sealed, about []byte) ([]byte, error) {
	if len(sealed) < header || sealed[0] != version {
		return nil, seal.ErrUnsealable
	}
	rest := sealed[header:]
	n := int(binary.BigEndian.Uint16(sealed[1:]))
	if n == 0 || len(rest) < n {
		return nil, seal.ErrUnsealable
	}
	// Without a key ID, KMS takes that which the ciphertext names.
	opened, err := s.api.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: rest[:n], EncryptionContext: contextOf(about)})
	if err != nil {
		if isLost(err) {
			err = fmt.Errorf("%w: %w", seal.ErrUnsealable, err)
		}
		return nil, fmt.Errorf("awskms: cannot open a data key: %w", err)
	}
	defer clear(opened.Plaintext)
	aead, err := aeadOf(opened.Plaintext)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, rest[n:], about)
	if err != nil {
		return nil, seal.ErrUnsealable
	}
	return plain, nil
}

// aeadOf returns AES-256-GCM that makes its own nonces and puts them in front.
func aeadOf(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("awskms: KMS gave a data key of %d bytes: %w", len(key), err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// isLost reports whether trying again will not help. A key that may not be used now, or is to be deleted, may be
// allowed, or kept, again.
func isLost(err error) bool {
	var (
		changed *types.InvalidCiphertextException
		other   *types.IncorrectKeyException
	)
	return errors.As(err, &changed) || errors.As(err, &other)
}

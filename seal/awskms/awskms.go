// Package awskms seals secrets in the store with a key of AWS KMS.
//
// Each secret is encrypted with AES-256-GCM under a data key of its own, which KMS makes and encrypts (envelope encryption).
// So a secret may have any size, and a reader of the store who may not call KMS can decrypt nothing. The encryption context
// holds, under [ContextKey], what the secret is about: CloudTrail shows it, and a key policy can ask for it.
//
// A pool seals and opens once per launch; each process, at its start, seals once and opens once or twice.
// The process needs kms:GenerateDataKey on the key that seals, and kms:Decrypt on every key that has sealed.
//
// KMS rotates the material of a key by itself; earlier secrets can still be opened. To use another key, give its ID to [New].
// A sealed secret names its key, and can be opened as long as kms:Decrypt on that key is allowed. To change from or to
// another kind of Sealer, use [seal.Chain].
package awskms

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/berth-go/berth/seal"
)

// ContextKey is the name under which the encryption context says what a secret is about, such as a launch ID.
const ContextKey = "berth:about"

// API has the methods of [kms.Client] that the package uses.
type API interface {
	// GenerateDataKey makes a data key, and encrypts it under a key of KMS.
	GenerateDataKey(context.Context, *kms.GenerateDataKeyInput, ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error)
	// Decrypt decrypts a data key, if it was made with the same encryption context.
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
}

// version is the first byte of a sealed secret; those of other Sealers begin with another byte. Then come two bytes with the
// length of the encrypted data key, that key, the nonce and the ciphertext.
const (
	version = 'K'
	header  = 3
)

type sealer struct {
	api API
	key string
}

// New returns a Sealer that seals with the symmetric key of that ID, ARN or alias ("alias/berth"). Its errors are those of
// KMS, after the SDK's retries. It is safe for concurrent use.
func New(api API, key string) seal.Sealer { return &sealer{api, key} }

func contextOf(about []byte) map[string]string {
	return map[string]string{ContextKey: strings.ToValidUTF8(string(about), "?")}
}

// Seal implements [seal.Sealer].
func (s *sealer) Seal(ctx context.Context, plain, about []byte) ([]byte, error) {
	made, err := s.api.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: &s.key, KeySpec: types.DataKeySpecAes256, EncryptionContext: contextOf(about),
	})
	if err == nil && made == nil {
		err = errNoAnswer
	}
	if err != nil {
		return nil, fmt.Errorf("awskms: GenerateDataKey: cannot get a data key of %q: %w", s.key, err)
	}
	defer clear(made.Plaintext)
	aead, err := aeadOf("GenerateDataKey", made.Plaintext)
	if err != nil {
		return nil, err
	}
	wrapped := made.CiphertextBlob
	if len(wrapped) == 0 || len(wrapped) > math.MaxUint16 { // it could not be opened again
		return nil, fmt.Errorf("awskms: GenerateDataKey: KMS gave an encrypted data key of %d bytes", len(wrapped))
	}
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
	// Without a key ID, KMS takes the key that the ciphertext names.
	opened, err := s.api.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: rest[:n], EncryptionContext: contextOf(about)})
	if err == nil && opened == nil {
		err = errNoAnswer
	}
	if err != nil {
		if isLost(err) {
			err = fmt.Errorf("%w: %w", seal.ErrUnsealable, err)
		}
		return nil, fmt.Errorf("awskms: Decrypt: cannot open a data key: %w", err)
	}
	defer clear(opened.Plaintext)
	aead, err := aeadOf("Decrypt", opened.Plaintext)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, rest[n:], about)
	if err != nil {
		return nil, seal.ErrUnsealable
	}
	return plain, nil
}

var errNoAnswer = errors.New("there is no answer")

// aeadOf returns AES-256-GCM that makes its own nonces and puts them in front. call is the call that returned the key.
func aeadOf(call string, key []byte) (cipher.AEAD, error) {
	if len(key) != seal.KeySize { // a shorter key would select a weaker cipher
		return nil, fmt.Errorf("awskms: %s: KMS gave a data key of %d bytes, not %d", call, len(key), seal.KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("awskms: %s: %w", call, err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// isLost reports whether the secret is lost. A key that may not be used now may be allowed again, and a deletion that is
// scheduled may be cancelled.
func isLost(err error) bool {
	var (
		changed *types.InvalidCiphertextException
		other   *types.IncorrectKeyException
	)
	return errors.As(err, &changed) || errors.As(err, &other)
}

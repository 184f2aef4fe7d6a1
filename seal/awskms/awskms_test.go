package awskms_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/seal/awskms"
)

// service speaks the part of KMS's protocol that a Sealer needs. Its ciphertexts are "keyID|nonce|ciphertext", bound to the
// encryption context.
type service struct {
	mu       sync.Mutex
	keys     map[string]cipher.AEAD
	disabled map[string]bool
	seen     []map[string]string // encryption contexts
}

// client returns the SDK's own client of a service with those keys.
func client(t *testing.T, keys ...string) (*service, *kms.Client) {
	t.Helper()
	s := &service{keys: make(map[string]cipher.AEAD), disabled: make(map[string]bool)}
	for _, k := range keys {
		s.keys[k] = newAEAD(t, randomBytes(32))
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, kms.New(kms.Options{
		Region: "eu-west-1", BaseEndpoint: &server.URL, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

func newAEAD(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var in struct {
		KeyId, KeySpec    string
		CiphertextBlob    []byte
		EncryptionContext map[string]string
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, "SerializationException", err.Error())
		return
	}
	s.seen = append(s.seen, in.EncryptionContext)
	about := []byte(fmt.Sprint(in.EncryptionContext)) // a map is printed in the order of its keys
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService."); action {
	case "GenerateDataKey":
		switch {
		case in.KeySpec != "AES_256":
			refuse(w, "ValidationException", "key spec "+in.KeySpec)
		case s.keys[in.KeyId] == nil:
			refuse(w, "NotFoundException", "no key "+in.KeyId)
		case s.disabled[in.KeyId]:
			refuse(w, "DisabledException", in.KeyId+" is disabled")
		default:
			plain := randomBytes(32)
			blob := s.keys[in.KeyId].Seal([]byte(in.KeyId+"|"), nil, plain, about)
			json.NewEncoder(w).Encode(map[string]any{"KeyId": in.KeyId, "Plaintext": plain, "CiphertextBlob": blob})
		}
	case "Decrypt":
		id, blob, _ := bytes.Cut(in.CiphertextBlob, []byte("|"))
		key := s.keys[string(id)]
		if in.KeyId != "" && in.KeyId != string(id) {
			refuse(w, "IncorrectKeyException", "it was encrypted with another key")
			return
		}
		if key != nil && s.disabled[string(id)] {
			refuse(w, "DisabledException", string(id)+" is disabled")
			return
		}
		if key == nil {
			refuse(w, "InvalidCiphertextException", "")
			return
		}
		plain, err := key.Open(nil, nil, blob, about)
		if err != nil {
			refuse(w, "InvalidCiphertextException", "")
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"KeyId": string(id), "Plaintext": plain})
	default:
		refuse(w, "UnknownOperationException", action)
	}
}

func refuse(w http.ResponseWriter, code, message string) {
	w.WriteHeader(http.StatusBadRequest)
	json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": message})
}

func TestWhatIsSealedComesBack(t *testing.T) {
	s, api := client(t, "alias/berth")
	sealer := awskms.New(api, "alias/berth")
	for _, plain := range [][]byte{nil, []byte("a short secret"), bytes.Repeat([]byte("long"), 10000)} {
		for _, about := range []string{"", "launch/1", "\xff not text"} {
			sealed, err := sealer.Seal(t.Context(), plain, []byte(about))
			if err != nil {
				t.Fatal(err)
			}
			if len(plain) > 0 && bytes.Contains(sealed, plain) {
				t.Error("it can be read as it is")
			}
			got, err := sealer.Open(t.Context(), sealed, []byte(about))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes about %q: %q, %v", len(plain), about, got, err)
			}
		}
	}
	if got := s.seen[len(s.seen)-1]; len(got) != 1 || got[awskms.ContextKey] != "? not text" {
		t.Errorf("the encryption context was %q", got)
	}
}

func TestOnlyTheKeyAndThePlaceOpen(t *testing.T) {
	_, api := client(t, "one")
	sealer := awskms.New(api, "one")
	sealed, err := sealer.Seal(t.Context(), []byte("secret"), []byte("launch/1"))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, s seal.Sealer, sealed []byte, about string) {
		t.Helper()
		if got, err := s.Open(t.Context(), sealed, []byte(about)); !errors.Is(err, seal.ErrUnsealable) || got != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	_, stranger := client(t, "one")
	refused("another account's key of that name", awskms.New(stranger, "one"), sealed, "launch/1")
	refused("another place", sealer, sealed, "launch/2")
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		refused(fmt.Sprintf("byte %d is changed", i), sealer, changed, "launch/1")
		refused(fmt.Sprintf("only %d bytes are left", i), sealer, sealed[:i], "launch/1")
	}
}

func TestKeyThatCannotBeUsedNowIsNotLost(t *testing.T) {
	s, api := client(t, "one")
	sealer := awskms.New(api, "one")
	sealed, err := sealer.Seal(t.Context(), []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.disabled["one"] = true
	var disabled *types.DisabledException
	if _, err := sealer.Open(t.Context(), sealed, nil); !errors.As(err, &disabled) || errors.Is(err, seal.ErrUnsealable) {
		t.Errorf("opening: %v", err)
	}
	if _, err := sealer.Seal(t.Context(), []byte("secret"), nil); !errors.As(err, &disabled) || !strings.Contains(err.Error(), `"one"`) {
		t.Errorf("sealing: %v", err)
	}
	s.disabled["one"] = false
	if got, err := sealer.Open(t.Context(), sealed, nil); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestRotation changes from AES to a key of KMS, and then to another key of KMS.
func TestRotation(t *testing.T) {
	_, api := client(t, "first", "second")
	local, err := seal.AES(randomBytes(seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	steps := []seal.Sealer{
		local,
		seal.Chain(awskms.New(api, "first"), local),
		seal.Chain(awskms.New(api, "second"), local),
	}
	var all [][]byte
	for i, s := range steps {
		sealed, err := s.Seal(t.Context(), []byte("secret"), []byte("launch/1"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sealed)
		for j, old := range all {
			if got, err := s.Open(t.Context(), old, []byte("launch/1")); err != nil || string(got) != "secret" {
				t.Errorf("step %d opens that of step %d: %q, %v", i, j, got, err)
			}
		}
	}
	if _, err := local.Open(t.Context(), all[1], []byte("launch/1")); !errors.Is(err, seal.ErrUnsealable) {
		t.Errorf("the local key opens what KMS has sealed: %v", err)
	}
}

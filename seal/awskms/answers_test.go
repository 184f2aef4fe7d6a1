package awskms_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/seal/awskms"
)

// answering returns a client of a KMS that answers every call in one way.
func answering(t *testing.T, status int, body []byte) *kms.Client {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(body) // a client that has gone needs no answer
	}))
	t.Cleanup(server.Close)
	return kms.New(kms.Options{
		Region: "eu-west-1", BaseEndpoint: &server.URL, Retryer: aws.NopRetryer{}, HTTPClient: httpClient{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// httpClient sends bodies that net/http can only read. The SDK closes its own bodies while net/http may still read from them,
// which closes the connection. The SDK's retries hide that; here they are off.
type httpClient struct{}

func (httpClient) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return http.DefaultClient.Do(r)
}

// sealedOnce is a secret that was sealed with a correct KMS.
func sealedOnce(t *testing.T) []byte {
	t.Helper()
	_, api := client(t, "one")
	sealed, err := awskms.New(api, "one").Seal(t.Context(), []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// TestAnswersOfKMS: an answer that lacks something is an error that names the call, and does not say that the secret is
// lost.
func TestAnswersOfKMS(t *testing.T) {
	sealed := sealedOnce(t)
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"nothing":             {200, ""},
		"an empty object":     {200, "{}"},
		"null":                {200, "null"},
		"nulls":               {200, `{"Plaintext":null,"CiphertextBlob":null}`},
		"no ciphertext":       {200, `{"Plaintext":"` + key + `","CiphertextBlob":""}`},
		"a long ciphertext":   {200, `{"CiphertextBlob":"` + strings.Repeat("AAAA", 30000) + `","Plaintext":"` + key + `"}`},
		"a short key":         {200, `{"Plaintext":"AAAAAAAAAAAAAAAAAAAAAA==","CiphertextBlob":"AAAA"}`},
		"numbers":             {200, `{"Plaintext":7,"CiphertextBlob":7}`},
		"no base64":           {200, `{"Plaintext":"%%%","CiphertextBlob":"%%%"}`},
		"half of it":          {200, `{"Plaintext":"` + key[:20]},
		"a page":              {200, "<html><body>hello</body></html>"},
		"a page with 503":     {503, "<html><body>Service Unavailable</body></html>"},
		"an error of no code": {400, "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			sealer := awskms.New(answering(t, c.status, []byte(c.body)), "one")
			if got, err := sealer.Seal(t.Context(), []byte("secret"), nil); err == nil || !strings.Contains(err.Error(), "GenerateDataKey") || got != nil {
				t.Errorf("Seal = %q, %v; want an error that names the call", got, err)
			}
			got, err := sealer.Open(t.Context(), sealed, nil)
			if strings.HasSuffix(name, "ciphertext") { // the key is there, and another one
				if !errors.Is(err, seal.ErrUnsealable) || got != nil {
					t.Errorf("Open = %q, %v", got, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), "Decrypt") || errors.Is(err, seal.ErrUnsealable) || got != nil {
				t.Errorf("Open = %q, %v; want an error that names the call", got, err)
			}
		})
	}
}

// mute is a client that returns neither an answer nor an error.
type mute struct{}

func (mute) GenerateDataKey(context.Context, *kms.GenerateDataKeyInput, ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error) {
	return nil, nil
}

func (mute) Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	return nil, nil
}

func TestClientThatReturnsNothing(t *testing.T) {
	sealer := awskms.New(mute{}, "one")
	if _, err := sealer.Seal(t.Context(), nil, nil); err == nil {
		t.Error("Seal succeeds")
	}
	if _, err := sealer.Open(t.Context(), sealedOnce(t), nil); err == nil {
		t.Error("Open succeeds")
	}
}

// FuzzAnswersOfKMS answers both calls with arbitrary text.
func FuzzAnswersOfKMS(f *testing.F) {
	for _, body := range []string{"", "{}", "null", "[]", `{"Plaintext":null}`, `{"Plaintext":"AAAA","CiphertextBlob":"AAAA"}`, `{"__type":7}`} {
		f.Add(uint16(200), []byte(body))
		f.Add(uint16(400), []byte(body))
	}
	f.Fuzz(func(t *testing.T, status uint16, body []byte) {
		sealer := awskms.New(answering(t, 200+int(status)%400, body), "one")
		if sealed, err := sealer.Seal(t.Context(), []byte("secret"), nil); err == nil && len(sealed) < 3 {
			t.Errorf("sealed %q", sealed)
		}
		if plain, err := sealer.Open(t.Context(), sealedOnce(t), nil); err == nil && string(plain) != "secret" {
			t.Errorf("opened %q", plain)
		}
	})
}

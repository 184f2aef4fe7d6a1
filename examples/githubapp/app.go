// Package githubapp is a [berth.Config] Credentials for a GitHub App. Copy it.
//
// The App proves who it is by a JWT that its private key signs (RS256), finds its installation for a repository, and gets a token of that
// for this repository alone, which can read, or read and write. GitHub's tokens live for an hour. Each is kept in memory until shortly
// before it expires, so that git always gets one that lives long enough.
package githubapp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/naming"
)

// App is a GitHub App. Its fields must not change once it is used. All methods are safe for concurrent use.
type App struct {
	ID  string          // the App's ID or its client ID
	Key *rsa.PrivateKey // see ParseKey
	// May says whether a user may do with a repository what the request asks for. It must not trust the request's Purpose more than the
	// user: a task can ask to push. r.UserID is "" for a container that is kept warm. Its error is shown to the task.
	May  func(ctx context.Context, r berth.CredentialRequest) error
	Host string       // of the repositories. Default "github.com"
	API  string       // Default "https://api.github.com"
	HTTP *http.Client // Default http.DefaultClient

	now func() time.Time // a test's clock; nil = time.Now

	mu     sync.Mutex        // protects tokens
	tokens map[scope]*cached // by what they are for
}

// scope is what a token is for.
type scope struct {
	repository naming.Repository
	write      bool
}

// cached is a token, or the turn of those that want one.
type cached struct {
	turn    chan struct{} // a lock: who has sent to it may use the other fields
	token   string
	expires time.Time
}

// early is how long before its end a token is not given out any more: a large push may take that long.
const early = 10 * time.Minute

// ParseKey reads the private key as GitHub gives it: PEM, of PKCS #1.
func ParseKey(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("githubapp: that is no PEM")
	}
	return x509.ParsePKCS1PrivateKey(block.Bytes)
}

// Credentials is for Config.Credentials.
func (a *App) Credentials(ctx context.Context, r berth.CredentialRequest) (berth.Credential, error) {
	host := a.Host
	if host == "" {
		host = "github.com"
	}
	if r.Repository.Host != host {
		return berth.Credential{}, nil // such as a public submodule elsewhere
	}
	if err := a.May(ctx, r); err != nil {
		return berth.Credential{}, err
	}
	token, err := a.token(ctx, scope{r.Repository, r.Purpose == berth.PurposePush}, r.Rejected)
	if err != nil {
		return berth.Credential{}, err
	}
	return berth.Credential{Username: "x-access-token", Password: token}, nil
}

// token returns the token of a scope. rejected drops the one in the cache.
func (a *App) token(ctx context.Context, s scope, rejected bool) (string, error) {
	a.mu.Lock()
	if a.tokens == nil {
		a.tokens = make(map[scope]*cached)
	}
	c := a.tokens[s]
	if c == nil {
		c = &cached{turn: make(chan struct{}, 1)}
		a.tokens[s] = c
	}
	a.mu.Unlock()
	select { // of many gits at once, one asks GitHub
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	if !rejected && a.time().Add(early).Before(c.expires) {
		return c.token, nil
	}
	var err error
	c.token, c.expires, err = a.issue(ctx, s)
	return c.token, err
}

func (a *App) time() time.Time {
	if a.now != nil {
		return a.now()
	}
	return time.Now()
}

// issue gets a new token from GitHub.
func (a *App) issue(ctx context.Context, s scope) (token string, expires time.Time, err error) {
	var installation struct {
		ID int64 `json:"id"`
	}
	if err := a.call(ctx, "GET", "/repos/"+s.repository.Path+"/installation", nil, &installation); err != nil {
		return "", time.Time{}, err
	}
	contents := "read"
	if s.write {
		contents = "write"
	}
	ask := map[string]any{"repositories": []string{s.repository.Name()}, "permissions": map[string]string{"contents": contents}}
	var made struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	err = a.call(ctx, "POST", fmt.Sprintf("/app/installations/%d/access_tokens", installation.ID), ask, &made)
	return made.Token, made.Expires, err
}

// call makes a request as the App. Its errors hold neither the JWT nor what GitHub has answered.
func (a *App) call(ctx context.Context, method, path string, body, answer any) error {
	jwt, err := a.jwt()
	if err != nil {
		return err
	}
	content := new(bytes.Buffer)
	if body != nil {
		if err := json.NewEncoder(content).Encode(body); err != nil {
			return err
		}
	}
	api := a.API
	if api == "" {
		api = "https://api.github.com"
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(api, "/")+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+jwt)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	client := a.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("githubapp: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("githubapp: GitHub answers %s to %s %s", resp.Status, method, path)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(answer); err != nil {
		return fmt.Errorf("githubapp: the answer to %s %s is no JSON", method, path)
	}
	return nil
}

// jwt returns a token that proves who the App is, for some minutes. It begins a minute ago, as GitHub advises: clocks differ.
func (a *App) jwt() (string, error) {
	now := a.time()
	var parts []string
	for _, part := range []any{
		map[string]string{"alg": "RS256", "typ": "JWT"},
		map[string]any{"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(8 * time.Minute).Unix(), "iss": a.ID},
	} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	signed := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.Key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("githubapp: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

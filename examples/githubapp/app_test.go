package githubapp

import (
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
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/naming"
)

// github is the part of GitHub's API that the App uses. It checks each request as GitHub does.
type github struct {
	*httptest.Server
	t     *testing.T
	key   *rsa.PublicKey
	clock *clock

	mu     sync.Mutex
	issued []grant // the tokens' scopes, in their order
	last   string
	fail   int // the status of every answer; 0 = none
}

type grant struct{ repository, contents string }

// clock is the time of the App and of GitHub.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// newApp returns an App and the GitHub that knows it. The App lets the user eve do nothing, and bob read.
func newApp(t *testing.T, host string) (*App, *github) {
	t.Helper()
	made, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(made)}))
	if err != nil {
		t.Fatal(err)
	}
	g := &github{t: t, key: &made.PublicKey, clock: &clock{at: time.Now()}}
	g.Server = httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(g.Close)
	a := &App{ID: "12345", Key: key, Host: host, API: g.URL + "/", now: g.clock.now, May: func(_ context.Context, r berth.CredentialRequest) error {
		if r.UserID == "eve" || r.UserID == "bob" && r.Purpose != berth.PurposeFetch {
			return errors.New(r.UserID + " may not " + string(r.Purpose))
		}
		return nil
	}}
	return a, g
}

func (g *github) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != 0 {
		http.Error(w, "the secret words of GitHub", g.fail)
		return
	}
	if err := g.check(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")); err != nil {
		g.t.Error(err)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /repos/org/asked/installation":
		fmt.Fprint(w, `{"id": 77, "account": {"login": "org"}}`)
	case "POST /app/installations/77/access_tokens":
		var ask struct {
			Repositories []string
			Permissions  struct{ Contents string }
		}
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || len(ask.Repositories) != 1 {
			g.t.Errorf("the request for a token: %+v, %v", ask, err)
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		g.issued = append(g.issued, grant{ask.Repositories[0], ask.Permissions.Contents})
		g.last = fmt.Sprintf("ghs_%s_%d", ask.Permissions.Contents, len(g.issued))
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]any{"token": g.last, "expires_at": g.clock.now().Add(time.Hour).UTC().Format(time.RFC3339)})
	default:
		http.NotFound(w, r)
	}
}

// check checks a JWT.
func (g *github) check(jwt string) error {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return fmt.Errorf("the JWT has %d parts", len(parts))
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return err
		}
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(g.key, crypto.SHA256, sum[:], decoded[2]); err != nil {
		return err
	}
	var head struct{ Alg, Typ string }
	var claims struct {
		Iat, Exp int64
		Iss      string
	}
	if err := errors.Join(json.Unmarshal(decoded[0], &head), json.Unmarshal(decoded[1], &claims)); err != nil {
		return err
	}
	now := g.clock.now().Unix()
	if head.Alg != "RS256" || head.Typ != "JWT" || claims.Iss != "12345" || claims.Iat > now || claims.Exp <= now || claims.Exp-now > 10*60 {
		return fmt.Errorf("the JWT says %+v, %+v at %d", head, claims, now)
	}
	return nil
}

func (g *github) grants() []grant {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]grant(nil), g.issued...)
}

func (g *github) token() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

func TestTokensAreCachedUntilTheyExpire(t *testing.T) {
	a, g := newApp(t, "")
	read := berth.CredentialRequest{Repository: naming.Repository{Host: "github.com", Path: "org/asked"}, UserID: "ann", Purpose: berth.PurposeFetch}
	write := read
	write.Purpose = berth.PurposePush
	get := func(r berth.CredentialRequest) string {
		t.Helper()
		c, err := a.Credentials(t.Context(), r)
		if err != nil || c.Username != "x-access-token" {
			t.Fatalf("%v, %v", c, err)
		}
		return c.Password
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if c, err := a.Credentials(t.Context(), read); err != nil || c.Password != "ghs_read_1" {
				t.Errorf("%v, %v", c.Password, err)
			}
		})
	}
	all.Wait()
	if got := get(write); got != "ghs_write_2" {
		t.Errorf("to push: %s", got)
	}
	g.clock.advance(49 * time.Minute)
	if got := get(read); got != "ghs_read_1" {
		t.Errorf("after 49 min: %s", got)
	}
	g.clock.advance(2 * time.Minute)
	if got := get(read); got != "ghs_read_3" {
		t.Errorf("after 51 min: %s", got)
	}
	read.Rejected = true // somebody has revoked it
	if got := get(read); got != "ghs_read_4" {
		t.Errorf("after it was refused: %s", got)
	}
	if got := g.grants(); len(got) != 4 || got[0] != (grant{"asked", "read"}) || got[1] != (grant{"asked", "write"}) {
		t.Errorf("issued: %v", got)
	}
	elsewhere := read
	elsewhere.Repository.Host = "gitlab.com"
	if c, err := a.Credentials(t.Context(), elsewhere); err != nil || c != (berth.Credential{}) {
		t.Errorf("another host: %v, %v", c, err)
	}
	read.UserID = "eve"
	if _, err := a.Credentials(t.Context(), read); err == nil || err.Error() != "eve may not fetch" {
		t.Errorf("eve: %v", err)
	}
	g.mu.Lock()
	g.fail = http.StatusForbidden
	g.mu.Unlock()
	if _, err := a.Credentials(t.Context(), berth.CredentialRequest{Repository: write.Repository, UserID: "ann", Rejected: true}); err == nil ||
		!strings.Contains(err.Error(), "403 Forbidden") || strings.Contains(err.Error(), "secret words") {
		t.Errorf("GitHub refuses: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Credentials(ctx, berth.CredentialRequest{Repository: write.Repository, UserID: "ann", Rejected: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// TestOnTheRealEngine: git in a container clones and pushes with the App's tokens, also after an hour.
func TestOnTheRealEngine(t *testing.T) {
	a, g := newApp(t, "")
	l := local.New(t, berth.Config{Credentials: a.Credentials})
	a.Host = l.Git.Addr()
	remote := l.Git.Create("org/asked", gittest.Small())
	admit := func(purpose berth.Purpose) { // the token that the App is about to give out
		t.Helper()
		r := berth.CredentialRequest{Repository: naming.Repository{Host: l.Git.Addr(), Path: "org/asked"}, UserID: "ann", Purpose: purpose}
		c, err := a.Credentials(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		remote.RequireCredentials(c.Username, c.Password)
	}
	admit(berth.PurposeFetch)
	s, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "ann", Repository: remote.URL()})
	if err != nil {
		t.Fatal(err)
	}
	for hour := range 2 {
		admit(berth.PurposePush)
		local.Sh(t, s, "git commit -q --allow-empty -m more && git push -q origin HEAD 2>&1")
		if token := g.token(); !strings.HasPrefix(token, "ghs_write") {
			t.Errorf("in hour %d, the last token is %s", hour, token)
		}
		g.clock.advance(time.Hour)
	}
	if got := g.grants(); len(got) != 3 {
		t.Errorf("issued: %v", got)
	}
	admit(berth.PurposeFetch)
	bob, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "b", UserID: "bob", Repository: remote.URL()})
	if err != nil {
		t.Fatal(err)
	}
	if got := local.Sh(t, bob, "git fetch 2>&1; git push origin HEAD:refs/heads/b 2>&1 || true"); !strings.Contains(got, "bob may not push") {
		t.Errorf("bob's push: %s", got)
	}
}

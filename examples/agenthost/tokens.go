package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A token looks like one of GitHub's: a prefix by which scanners of secrets find it, letters that nobody can guess, and a checksum by which
// a mistyped or invented one is told without a look at the file. The file has no token, only its hash.
const (
	tokenPrefix = "aht_"
	secretLen   = 30
	sumLen      = 6
	alphabet    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// user is who sends a request.
type user struct {
	Name  string
	Admin bool // sees the tasks of all in the dashboard, and the metrics
}

var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,38}$`)

// newToken makes a token.
func newToken() string {
	secret := make([]byte, 0, secretLen)
	for b := make([]byte, 1); len(secret) < secretLen; {
		_, _ = rand.Read(b)                    // never fails
		if int(b[0]) < 256-256%len(alphabet) { // otherwise the first letters of the alphabet would be likelier
			secret = append(secret, alphabet[int(b[0])%len(alphabet)])
		}
	}
	return tokenPrefix + string(secret) + checksum(string(secret))
}

// checksum is the CRC32 of a text with the digits of the alphabet.
func checksum(s string) string {
	digits := []byte(strings.Repeat("0", sumLen))
	for i, n := sumLen-1, crc32.ChecksumIEEE([]byte(s)); n > 0; i, n = i-1, n/uint32(len(alphabet)) {
		digits[i] = alphabet[n%uint32(len(alphabet))]
	}
	return string(digits)
}

// wellFormed reports whether a text can be a token.
func wellFormed(token string) bool {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	return ok && len(rest) == secretLen+sumLen && checksum(rest[:secretLen]) == rest[secretLen:]
}

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// addToken makes a token for a user, and adds its hash to the file.
func addToken(path string, u user) (token string, err error) {
	if !userName.MatchString(u.Name) {
		return "", fmt.Errorf("the name of a user has up to 39 letters, digits, dots, dashes and underscores: %q", u.Name)
	}
	token = newToken()
	line := u.Name + " " + hash(token)
	if u.Admin {
		line += " admin"
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(line + "\n")
	return token, errors.Join(err, f.Close())
}

// tokens are the users by their tokens' hashes, as a file has them: "name hash", and "admin" behind an administrator's. The file is read
// again when it has changed, so a line that is removed takes a token back.
type tokens struct {
	path string

	mu    sync.Mutex // protects the fields below
	read  time.Time  // the file's time when it was read
	size  int64
	users map[string]user
}

// find returns the user of a token. ok is false if there is none.
func (t *tokens) find(token string) (u user, ok bool, err error) {
	if !wellFormed(token) {
		return user{}, false, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.path)
	if err != nil {
		return user{}, false, err
	}
	if t.users == nil || !info.ModTime().Equal(t.read) || info.Size() != t.size {
		users, err := readTokens(t.path)
		if err != nil {
			return user{}, false, err
		}
		t.users, t.read, t.size = users, info.ModTime(), info.Size()
	}
	u, ok = t.users[hash(token)]
	return u, ok, nil
}

func readTokens(path string) (map[string]user, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	users := make(map[string]user)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || !userName.MatchString(words[0]) {
			continue
		}
		users[words[1]] = user{Name: words[0], Admin: len(words) > 2 && words[2] == "admin"}
	}
	return users, lines.Err()
}

// cookie is the name of the cookie that has a browser's token. Scripts cannot read it, and other sites cannot have it sent.
const cookie = "agenthost"

// userKey is the key of the user in a request's context.
type userKey struct{}

// userOf returns who has sent a request that signedIn has let through.
func userOf(r *http.Request) user { return r.Context().Value(userKey{}).(user) }

// signedIn lets requests with a token through. refuse answers the others.
func (a *app) signedIn(next http.Handler, refuse http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if c, err := r.Cookie(cookie); !ok && err == nil {
			token = c.Value
		}
		u, ok, err := a.tokens.find(token)
		switch {
		case err != nil:
			a.log.Error("reading the tokens", "error", err)
			http.Error(w, "the tokens cannot be read", http.StatusServiceUnavailable)
		case !ok:
			refuse(w, r)
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, u)))
		}
	})
}

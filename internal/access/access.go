// Package access remembers which users have proven that their credentials read which repositories.
package access

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"

	"github.com/berth-go/berth/naming"
)

// Mode says when access is proven.
type Mode int

// The modes.
const (
	Prove       Mode = iota // before a session joins what was fetched with a credential, unless a Cache knows the answer
	ProveAlways             // the same, without a Cache
	AllowAll                // never
)

// How long a Cache keeps an answer.
const (
	ProvenFor  = 5 * time.Minute
	RefusedFor = 10 * time.Second
)

// maxAnswers bounds the answers of each sort in a Cache. Beyond it, the oldest are dropped. Refusals do not drop proofs.
const maxAnswers = 10_000

// A Subject is what an answer is about.
type Subject struct {
	User       string
	Repository naming.Repository
	Credential Credential
}

// Credential is the hash of a credential. The zero value is none.
type Credential [sha256.Size]byte

// Hash returns the hash of a credential; zero if both parts are empty.
func Hash(username, password string) (c Credential) {
	if username == "" && password == "" {
		return c
	}
	text := binary.AppendUvarint([]byte("berth credential 1\x00"), uint64(len(username)))
	return sha256.Sum256(append(append(text, username...), password...))
}

// Asked is in place of the hash where the host application is asked for the credential: it gives a user another one each time.
var Asked = Credential(sha256.Sum256([]byte("berth credential, asked for")))

// String returns the hash in hex, and "" for none, and where the host application is asked.
func (c Credential) String() string {
	if c == (Credential{}) || c == Asked {
		return ""
	}
	return hex.EncodeToString(c[:])
}

// A Cache has the answers of remotes to one process. All methods are safe for concurrent use.
type Cache struct {
	mode Mode

	mu      sync.Mutex // protects what follows
	epoch   int        // counts the calls of Forget
	proven  answers
	refused answers
}

// NewCache returns an empty Cache. It keeps nothing unless the mode is Prove.
func NewCache(mode Mode) *Cache {
	return &Cache{mode: mode, proven: newAnswers(ProvenFor), refused: newAnswers(RefusedFor)}
}

// Needed reports whether access is to be proven at all.
func (c *Cache) Needed() bool { return c.mode != AllowAll }

// Proven reports whether the subject has proven access lately.
func (c *Cache) Proven(s Subject) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.proven.get(s)
	return ok
}

// Refused returns the error with which the remote refused the subject lately; nil if it did not.
func (c *Cache) Refused(s Subject) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err, _ := c.refused.get(s)
	return err
}

// Try begins to ask the remote. An answer that comes after a Forget is not kept.
func (c *Cache) Try(s Subject) Trial {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Trial{c, s, c.epoch}
}

// A Trial is a question to a remote.
type Trial struct {
	cache   *Cache
	subject Subject
	epoch   int
}

// Proven keeps that the credential reads the repository.
func (t Trial) Proven() { t.keep(&t.cache.proven, &t.cache.refused, nil) }

// Refused keeps that the remote has refused the credential. A failure that may pass is no refusal.
func (t Trial) Refused(err error) { t.keep(&t.cache.refused, &t.cache.proven, err) }

func (t Trial) keep(in, other *answers, err error) {
	c := t.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	other.drop(t.subject)
	if c.mode == Prove && c.epoch == t.epoch {
		in.put(t.subject, err)
	}
}

// Forget drops every answer about a user and a repository, with any credential. The zero Repository means all repositories.
func (c *Cache) Forget(user string, r naming.Repository) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	for _, all := range []*answers{&c.proven, &c.refused} {
		for s := range all.bySubject {
			if s.User == user && (s.Repository == r || r == naming.Repository{}) {
				all.drop(s)
			}
		}
	}
}

// answers are the answers of one sort. All are kept for the same time, so that the oldest expires first.
type answers struct {
	keep      time.Duration
	bySubject map[Subject]*list.Element
	byAge     *list.List // of answer, the oldest in front
}

type answer struct {
	subject Subject
	until   time.Time
	err     error
}

func newAnswers(keep time.Duration) answers {
	return answers{keep: keep, bySubject: make(map[Subject]*list.Element), byAge: list.New()}
}

func (a *answers) get(s Subject) (err error, ok bool) {
	e := a.bySubject[s]
	if e == nil || !time.Now().Before(e.Value.(answer).until) {
		return nil, false
	}
	return e.Value.(answer).err, true
}

func (a *answers) put(s Subject, err error) {
	a.drop(s)
	now := time.Now()
	for oldest := a.byAge.Front(); oldest != nil; oldest = a.byAge.Front() {
		if old := oldest.Value.(answer); a.byAge.Len() < maxAnswers && now.Before(old.until) {
			break
		}
		a.drop(oldest.Value.(answer).subject)
	}
	a.bySubject[s] = a.byAge.PushBack(answer{s, now.Add(a.keep), err})
}

func (a *answers) drop(s Subject) {
	if e := a.bySubject[s]; e != nil {
		a.byAge.Remove(e)
		delete(a.bySubject, s)
	}
}

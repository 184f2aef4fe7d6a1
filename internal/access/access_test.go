package access

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/naming"
)

var (
	repoA = naming.Repository{Host: "host.xz", Path: "o/a"}
	repoB = naming.Repository{Host: "host.xz", Path: "o/b"}
)

func TestAnswersExpire(t *testing.T) {
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		mode            Mode
		proven, refused bool // until it expires
	}{
		"prove":  {mode: Prove, proven: true, refused: true},
		"always": {mode: ProveAlways},
		"all":    {mode: AllowAll},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache := NewCache(c.mode)
				ann, bob := Subject{User: "ann", Repository: repoA}, Subject{User: "bob", Repository: repoA}
				cache.Try(ann).Proven()
				cache.Try(bob).Refused(refused)
				look := func(proven bool, err error) {
					t.Helper()
					if cache.Proven(ann) != proven || cache.Refused(bob) != err || cache.Proven(bob) || cache.Refused(ann) != nil {
						t.Errorf("after %v: ann %v, bob %v", time.Now(), cache.Proven(ann), cache.Refused(bob))
					}
				}
				var is error
				if c.refused {
					is = refused
				}
				look(c.proven, is)
				time.Sleep(RefusedFor - 1)
				look(c.proven, is)
				time.Sleep(time.Nanosecond)
				look(c.proven, nil)
				time.Sleep(ProvenFor - RefusedFor - 1)
				look(c.proven, nil)
				time.Sleep(time.Nanosecond)
				look(false, nil)
			})
		})
	}
}

func TestAnAnswerIsAboutOneSubject(t *testing.T) {
	cache := NewCache(Prove)
	s := Subject{"ann", repoA, Hash("x", "token")}
	cache.Try(s).Proven()
	for _, other := range []Subject{
		{"bob", repoA, s.Credential}, {"ann", repoB, s.Credential}, {"ann", repoA, Credential{}}, {"ann", repoA, Hash("x", "other")},
		{"ann", repoA, Hash("", "xtoken")}, {"ann", repoA, Hash("xtoken", "")},
	} {
		if cache.Proven(other) {
			t.Errorf("%+v has proven nothing", other)
		}
	}
	cache.Try(s).Refused(errors.New("revoked"))
	if cache.Proven(s) || cache.Refused(s) == nil {
		t.Error("a refusal leaves the older proof")
	}
	cache.Try(s).Proven()
	if !cache.Proven(s) || cache.Refused(s) != nil {
		t.Error("a proof leaves the older refusal")
	}
}

func TestForget(t *testing.T) {
	cache := NewCache(Prove)
	all := []Subject{{"ann", repoA, Hash("", "1")}, {"ann", repoA, Credential{}}, {"ann", repoB, Credential{}}, {"bob", repoA, Credential{}}}
	for _, s := range all {
		cache.Try(s).Proven()
	}
	asked := cache.Try(all[0]) // its answer comes afterwards
	cache.Forget("ann", repoA)
	asked.Proven()
	for i, want := range []bool{false, false, true, true} {
		if got := cache.Proven(all[i]); got != want {
			t.Errorf("%+v: %v", all[i], got)
		}
	}
	cache.Try(all[0]).Proven()
	if !cache.Proven(all[0]) {
		t.Error("a later answer is not kept")
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	cache := NewCache(Prove)
	subject := func(i int) Subject { return Subject{User: fmt.Sprint(i), Repository: repoA} }
	cache.Try(subject(-1)).Proven()
	for i := range 2 * maxAnswers {
		cache.Try(subject(i)).Refused(errors.New("refused"))
	}
	if n, m := cache.refused.byAge.Len(), len(cache.refused.bySubject); n != maxAnswers || m != maxAnswers {
		t.Errorf("%d and %d refusals are kept", n, m)
	}
	if !cache.Proven(subject(-1)) {
		t.Error("refusals have dropped a proof")
	}
	if cache.Refused(subject(2*maxAnswers-1)) == nil || cache.Refused(subject(0)) != nil {
		t.Error("not the oldest were dropped")
	}
}

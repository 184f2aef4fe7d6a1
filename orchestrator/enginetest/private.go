package enginetest

import (
	"errors"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// privately returns a fetch of the first remote, which wants credentials, with the right ones.
func (f *fixture) privately() agent.Fetch {
	f.Helper()
	user, password := f.Remote.Lock(true)
	return agent.Fetch{URL: f.Remote.URL, Username: user, Password: password, Prove: true, MaxAge: time.Hour}
}

// wantDenied checks that a fetch with another credential is refused, and tells nothing.
func (f *fixture) wantDenied(in orchestrator.Inside, right agent.Fetch) {
	f.Helper()
	for name, bad := range map[string]agent.Fetch{"none": {}, "a wrong one": {Username: right.Username, Password: "hunter2secret"}} {
		for _, branch := range []string{"", "no-such-branch"} {
			bad.URL, bad.MaxAge, bad.Prove, bad.Branch = right.URL, time.Hour, true, branch
			m, err := in.Fetch(f.ctx, bad, nil)
			var git *agent.GitError
			if !errors.As(err, &git) || m != (agent.Mirror{}) {
				f.Errorf("Fetch of branch %q with the credential %s returned %+v, %v", branch, name, m, err)
			} else if strings.Contains(err.Error(), "hunter2secret") || strings.Contains(err.Error(), right.Password) {
				f.Errorf("the error holds the password: %v", err)
			}
		}
	}
}

func needsLock(r Rig) string {
	return needs(r.Remote.Lock != nil, "has no remote that wants credentials")
}

var privateCases = []testCase{{
	rule:  "a mirror that was fetched with a credential is opened only with a proof, also in the next container",
	needs: needsLock,
	test: func(f *fixture) {
		h, in := f.inside()
		right := f.privately()
		if m, err := in.Fetch(f.ctx, right, nil); err != nil || !m.Private || !m.Proven {
			f.Fatalf("the first Fetch returned %+v, %v", m, err)
		}
		for range 2 {
			s := f.session("s1")
			_, err := in.Open(f.ctx, s)
			f.wantErr("Open", err, agent.ErrProofRequired)
			f.wantDenied(in, right)
			if open, err := in.Sessions(f.ctx); err != nil || len(open) != 0 {
				f.Errorf("Sessions returned %v, %v", open, err)
			}
			if m, err := in.Fetch(f.ctx, right, nil); err != nil || !m.Private || !m.Proven || m.Fetched {
				f.Errorf("Fetch with the right credential returned %+v, %v", m, err)
			}
			s.Proven = true
			f.open(in, s)
			if err := h.Remove(f.ctx, f.own().Name, ""); err != nil {
				f.Fatalf("Remove: %v", err)
			}
			f.ensure(h, f.own())
			in = f.attach(h, f.own().Name)
		}
	},
}, {
	rule: "a public mirror needs no proof and no request",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		asked := 0
		if f.Remote.Requests != nil {
			asked = f.Remote.Requests()
		}
		for _, password := range []string{"", "a-token"} {
			m, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL, Password: password, MaxAge: time.Hour, Prove: true}, nil)
			if err != nil || m.Private || m.Proven || m.Fetched {
				f.Errorf("Fetch returned %+v, %v", m, err)
			}
		}
		f.open(in, f.session("s1"))
		if f.Remote.Requests != nil && f.Remote.Requests() != asked {
			f.Errorf("the remote had %d requests", f.Remote.Requests()-asked)
		}
	},
}, {
	rule:  "a mirror stays private when the remote gives it to everybody, which is then a proof",
	needs: needsLock,
	test: func(f *fixture) {
		_, in := f.inside()
		if _, err := in.Fetch(f.ctx, f.privately(), nil); err != nil {
			f.Fatalf("Fetch: %v", err)
		}
		f.Remote.Lock(false)
		for _, age := range []time.Duration{0, time.Hour} {
			if m, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL, MaxAge: age, Prove: true}, nil); err != nil || !m.Private || !m.Proven {
				f.Errorf("Fetch returned %+v, %v", m, err)
			}
		}
		_, err := in.Open(f.ctx, f.session("s1"))
		f.wantErr("Open", err, agent.ErrProofRequired)
	},
}, {
	rule:  "a mirror does not become private while a session without a proof uses it",
	needs: needsLock,
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		s := f.session("s1")
		f.open(in, s)
		right := f.privately()
		right.MaxAge = 0
		var git *agent.GitError
		if m, err := in.Fetch(f.ctx, right, nil); !errors.As(err, &git) {
			f.Errorf("Fetch returned %+v, %v", m, err)
		}
		f.open(in, f.session("s2"))
		for id, uid := range map[string]int{"s1": s.UID, "s2": s.UID + 1} {
			if err := in.CloseSession(f.ctx, id, uid); err != nil {
				f.Fatalf("CloseSession: %v", err)
			}
		}
		if m, err := in.Fetch(f.ctx, right, nil); err != nil || !m.Private || !m.Proven {
			f.Errorf("Fetch returned %+v, %v", m, err)
		}
	},
}, {
	rule:  "a remote that cannot answer proves nothing and refuses nobody",
	needs: needsLock,
	test: func(f *fixture) {
		_, in := f.inside()
		right := f.privately()
		if _, err := in.Fetch(f.ctx, right, nil); err != nil {
			f.Fatalf("Fetch: %v", err)
		}
		f.Remote.Flake()
		if m, err := in.Fetch(f.ctx, right, nil); err != nil || !m.Proven {
			f.Errorf("Fetch returned %+v, %v; want it tried again", m, err)
		}
		f.Remote.Refuse(true)
		if m, err := in.Fetch(f.ctx, right, nil); err == nil {
			f.Errorf("Fetch returned %+v", m)
		}
	},
}}

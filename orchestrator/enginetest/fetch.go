package enginetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
)

var fetchCases = []testCase{{
	rule: "the first fetch clones, and the next one does not",
	test: func(f *fixture) {
		_, in := f.inside()
		first := f.fetch(in, f.Remote)
		if !first.Cold || !first.Fetched || first.Size <= 0 || first.Free <= 0 {
			f.Errorf("the first returned %+v", first)
		}
		if second := f.fetch(in, f.Remote); second.Cold || !second.Fetched {
			f.Errorf("the second returned %+v", second)
		}
	},
}, {
	rule: "a fetch brings what was pushed since",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		f.Remote.Commit(f.T, f.Remote.Branch)
		f.Remote.Commit(f.T, "brand-new")
		f.fetch(in, f.Remote)
		for _, branch := range []string{f.Remote.Branch, "brand-new"} {
			s := f.session("s-" + branch)
			s.Branch = branch
			if c := f.open(in, s); c.Commit != f.Remote.Head(branch) {
				f.Errorf("%s is at %s; want %s", branch, c.Commit, f.Remote.Head(branch))
			}
		}
	},
}, {
	rule: "a fetch with a MaxAge does not ask a remote that was asked a moment ago",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		f.Remote.Refuse(true) // so that asking would fail
		for _, branch := range []string{"", f.Remote.Default, f.Remote.Branch} {
			m, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL, MaxAge: time.Hour, Branch: branch}, nil)
			if err != nil || m.Fetched || m.Cold {
				f.Errorf("Fetch of branch %q returned %+v, %v", branch, m, err)
			}
		}
	},
}, {
	rule: "a fetch with a MaxAge asks for a branch that the mirror does not have",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		f.Remote.Commit(f.T, "brand-new")
		m, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL, MaxAge: time.Hour, Branch: "brand-new"}, nil)
		if err != nil || !m.Fetched {
			f.Errorf("Fetch returned %+v, %v", m, err)
		}
	},
}, {
	rule: "a branch that the remote does not have is agent.ErrBranchNotFound, and hurts nothing",
	test: func(f *fixture) {
		_, in := f.inside()
		for range 2 { // a cold mirror, and one that is there
			_, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL, Branch: "no-such-branch"}, nil)
			f.wantErr("Fetch", err, agent.ErrBranchNotFound)
		}
		if m := f.fetch(in, f.Remote); m.Cold {
			f.Error("the mirror was lost")
		}
		f.open(in, f.session("s1"))
	},
}, {
	rule: "a remote that refuses is *agent.GitError, without the credential, and a later fetch succeeds",
	test: func(f *fixture) {
		_, in := f.inside()
		refused := func() {
			f.Helper()
			f.Remote.Refuse(true)
			defer f.Remote.Refuse(false)
			_, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL, Username: "ann", Password: "hunter2secret"}, nil)
			var git *agent.GitError
			if !errors.As(err, &git) || git.Message == "" {
				f.Errorf("Fetch returned %v; want git's own words", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2secret") {
				f.Errorf("the error holds the password: %v", err)
			}
		}
		refused()
		f.fetch(in, f.Remote)
		refused()
		if m := f.fetch(in, f.Remote); m.Cold {
			f.Error("a fetch that failed cost the mirror")
		}
	},
}, {
	rule: "concurrent fetches share one clone",
	test: func(f *fixture) {
		_, in := f.inside()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if _, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL, MaxAge: time.Hour}, nil); err != nil {
					f.Errorf("Fetch: %v", err)
				}
			})
		}
		all.Wait()
		if f.Remote.Fetches != nil && f.Remote.Fetches() != 1 {
			f.Errorf("the remote was asked %d times; want once", f.Remote.Fetches())
		}
	},
}, {
	rule:  "a mirror that a cut-off fetch broke is made anew",
	needs: needsBreak,
	test: func(f *fixture) {
		h, in := f.inside()
		f.fetch(in, f.Remote)
		name := f.own().Name
		if err := h.Remove(f.ctx, name, ""); err != nil {
			f.Fatal(err)
		}
		f.BreakMirror(f.T, name)
		f.ensure(h, f.own())
		in = f.attach(h, name)
		if m := f.fetch(in, f.Remote); !m.Cold {
			f.Errorf("Fetch returned %+v; want a mirror made anew", m)
		}
		if c := f.open(in, f.session("s1")); c.Commit != f.Remote.Head(f.Remote.Default) {
			f.Errorf("the checkout is at %s; want %s", c.Commit, f.Remote.Head(f.Remote.Default))
		}
	},
}, {
	rule:  "a fetch that is given up returns at once, and the next one succeeds",
	needs: needsHang,
	test: func(f *fixture) {
		_, in := f.inside()
		f.Remote.Hang(true)
		f.wantPrompt("Fetch", func(ctx context.Context) error {
			_, err := in.Fetch(ctx, agent.Fetch{URL: f.Remote.URL}, nil)
			return err
		})
		f.Remote.Hang(false)
		f.fetch(in, f.Remote)
	},
}}

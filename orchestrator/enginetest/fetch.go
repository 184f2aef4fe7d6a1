package enginetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
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
	rule: "a fetch brings the commits that were pushed since the last one",
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
	rule: "a branch that the remote does not have is agent.ErrBranchNotFound, and does no harm",
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
				f.Errorf("Fetch returned %v; want git's own message", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2secret") {
				f.Errorf("the error holds the password: %v", err)
			}
		}
		refused()
		f.fetch(in, f.Remote)
		refused()
		if m := f.fetch(in, f.Remote); m.Cold {
			f.Error("a fetch that failed has destroyed the mirror")
		}
	},
}, {
	rule: "a remote at an address that the container's egress refuses is agent.ErrAddressRefused",
	test: func(f *fixture) {
		spec := f.own()
		spec.Egress.Allow = append(spec.Egress.Allow[:len(spec.Egress.Allow):len(spec.Egress.Allow)], "127.0.0.3")
		h := f.connect(f.Pool)
		in := f.attach(h, f.ensure(h, spec).Name)
		for _, url := range []string{"http://127.0.0.2:9/o/r", "https://[::1]:9/o/r", "ssh://git@127.0.0.2/o/r", "git://169.254.169.254/o/r"} {
			_, err := in.Fetch(f.ctx, agent.Fetch{URL: url}, nil)
			f.wantErr("Fetch of "+url, err, agent.ErrAddressRefused)
		}
		brief, cancel := context.WithTimeout(f.ctx, 2*time.Second)
		defer cancel()
		if _, err := in.Fetch(brief, agent.Fetch{URL: "http://127.0.0.3:9/o/r"}, nil); errors.Is(err, agent.ErrAddressRefused) {
			f.Errorf("an exception does not hold: %v", err)
		}
		f.fetch(in, f.Remote)
	},
}, {
	rule:  "the environment of a fetch applies to it, and not to a later one",
	needs: needsProxy,
	test: func(f *fixture) {
		_, in := f.inside()
		for _, proxy := range []string{f.Remote.Proxy, ""} { // the second takes a while, because a refused connection is tried again
			env := map[string]string{"http_proxy": proxy, "https_proxy": proxy, "GREETING": "from the fetch"}
			_, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.Hidden, Env: env}, nil)
			var git *agent.GitError
			if proxy == "" && !errors.As(err, &git) || proxy != "" && err != nil {
				f.Errorf("with the proxy %q Fetch returned %v", proxy, err)
			}
		}
	},
}, {
	rule: "a failure of the remote that passes is tried again before the callers fail, and reported",
	test: func(f *fixture) {
		_, in := f.inside()
		for _, cold := range []bool{true, false} {
			f.Remote.Flake()
			var reports atomic.Int64
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					m, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL}, func(p agent.Progress) {
						if strings.Contains(p.Phase, "trying again") {
							reports.Add(1)
						}
					})
					if err != nil || m.Cold && !cold {
						f.Errorf("Fetch returned %+v, %v", m, err)
					}
				})
			}
			all.Wait()
			if cold && reports.Load() == 0 { // otherwise the request for the remote's HEAD may have failed, which does not matter
				f.Error("no caller got a report")
			}
		}
	},
}, {
	rule: "the environment of a fetch reaches no command",
	test: func(f *fixture) {
		_, in := f.inside()
		if _, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL, Env: map[string]string{"GREETING": "from the fetch"}}, nil); err != nil {
			f.Fatalf("Fetch: %v", err)
		}
		s := f.session("s1")
		f.open(in, s)
		if _, got, _ := f.run(in, s.ID, cmdGreeting, nil); got != "\n" {
			f.Errorf("a command sees %q", got)
		}
	},
}, {
	rule: "a commit that no branch reaches is fetched by its ID, and only once",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		for _, first := range []bool{true, false} {
			m, err := in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL, MaxAge: time.Hour, Branch: f.Remote.Beside}, nil)
			if err != nil || m.Fetched != first {
				f.Errorf("Fetch returned %+v, %v", m, err)
			}
		}
		s := f.session("s1")
		s.Branch = f.Remote.Beside
		if c := f.open(in, s); c.Branch != "" || c.Commit != f.Remote.Beside {
			f.Errorf("the checkout is %+v; want %s, detached", c, f.Remote.Beside)
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
	rule:  "a mirror that was broken when a fetch was cut off is made again",
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
			f.Errorf("Fetch returned %+v; want a mirror that was made again", m)
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

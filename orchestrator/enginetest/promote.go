package enginetest

import (
	"errors"
	"strings"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// promote makes what a session has installed the layer of a commit.
func promote(f *fixture, in orchestrator.Inside, id, commit string) {
	f.Helper()
	made, err := in.Promote(f.ctx, agent.Promotion{Session: id}, nil)
	if err != nil || !made.Made || made.Commit != commit || made.Bytes <= 0 || made.Took <= 0 || made.Unshared != "" {
		f.Errorf("Promote of %s returns %+v, %v", id, made, err)
	}
}

// begins opens a session, and checks on which commit its layer was made, and what it reads in its checkout.
func begins(f *fixture, in orchestrator.Inside, s agent.Session, commit, want string) {
	f.Helper()
	c := f.open(in, s)
	if c.Prepared != commit {
		f.Errorf("%s begins with the layer of %q, want %q", s.ID, c.Prepared, commit)
	}
	if _, got, _ := f.run(in, s.ID, cmdRead(note(c)), nil); got != want {
		f.Errorf("%s reads %q, want %q", s.ID, got, want)
	}
}

var promoteCases = []testCase{{
	rule: "what a session has installed becomes the layer of its commit: sessions that begin afterwards have it, and the others keep what they have",
	test: func(f *fixture) {
		_, in, ok := sharing(f)
		what, head := preparation(f.Remote, "").Prepare, f.Remote.Head(f.Remote.Default)
		with := func(id string, p agent.Prepare) agent.Session {
			s := f.session(id)
			s.Prepare = p
			return s
		}
		begins(f, in, with("s1", what), "", "")
		f.run(in, "s1", cmdPrepare, nil)
		if !ok {
			if made, err := in.Promote(f.ctx, agent.Promotion{Session: "s1"}, nil); err != nil || made.Unshared == "" || made.Made {
				f.Errorf("without shared checkouts Promote returns %+v, %v", made, err)
			}
			return
		}
		promote(f, in, "s1", head)
		begins(f, in, with("s2", what), head, "prepared\n")
		if _, out, _ := f.run(in, "s2", cmdKept, nil); out != "home\n" {
			f.Errorf("s2 reads %q in its home", out)
		}
		f.run(in, "s2", cmdWrite, text("newer"))
		promote(f, in, "s2", head)
		begins(f, in, with("s3", what), head, "newer")
		if _, out, _ := f.run(in, "s1", []string{"cat", "note"}, nil); out != "prepared\n" {
			f.Errorf("s1 reads %q afterwards", out)
		}
		f.wantPrepared("after a promotion", in, preparation(f.Remote, ""), false, head)
		bare := with("s4", what)
		bare.Bare = true
		begins(f, in, bare, "", "")
		if _, err := in.Promote(f.ctx, agent.Promotion{Session: "s4"}, nil); !errors.Is(err, agent.ErrNotPromoted) {
			f.Errorf("Promote of a session that began bare returns %v", err)
		}
		begins(f, in, with("s5", agent.Prepare{}), "", "")
		f.run(in, "s5", cmdWrite, text("by hand"))
		promote(f, in, "s5", head)
		begins(f, in, with("s6", agent.Prepare{}), head, "by hand")
		begins(f, in, with("s7", what), head, "newer")
		if _, err := in.Promote(f.ctx, agent.Promotion{Session: "none"}, nil); !errors.Is(err, agent.ErrUnknownSession) {
			f.Errorf("Promote of an unknown session returns %v", err)
		}
	},
}, {
	rule: "what has a value of its session's environments, or of its home, is not promoted, and the error names the file",
	test: func(f *fixture) {
		_, in, ok := sharing(f)
		if !ok {
			return
		}
		refused := func(id string, words ...string) {
			f.Helper()
			made, err := in.Promote(f.ctx, agent.Promotion{Session: id}, nil)
			if !errors.Is(err, agent.ErrNotPromoted) || made.Made {
				f.Errorf("Promote of %s returns %+v, %v", id, made, err)
				return
			}
			for _, word := range words {
				if !strings.Contains(err.Error(), word) {
					f.Errorf("the error of %s does not have %q: %v", id, word, err)
				}
			}
			if strings.Contains(err.Error(), "planted") {
				f.Errorf("the error has the secret: %v", err)
			}
		}
		s1 := f.session("s1")
		s1.Env = map[string]string{"GREETING": "planted-secret"}
		f.open(in, s1)
		f.run(in, "s1", cmdPrepare, nil)
		refused("s1", "dep/greeting", "GREETING")
		f.open(in, f.session("s2"))
		f.run(in, "s2", cmdKeep, text("planted-in-home"))
		f.run(in, "s2", cmdWrite, text("planted-in-home"))
		refused("s2", `"note"`, "~/note")
		begins(f, in, f.session("s3"), "", "")
		made, err := in.Promote(f.ctx, agent.Promotion{Session: "s1", Env: map[string]string{"GREETING": "planted-secret"}}, nil)
		if err != nil || !made.Made {
			f.Errorf("where the value is anybody's, Promote returns %+v, %v", made, err)
		}
	},
}}

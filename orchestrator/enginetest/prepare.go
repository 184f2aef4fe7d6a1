package enginetest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing/iotest"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// preparation asks for a layer of a remote's branch, which any repository can have: no file decides, so each commit has its own.
func preparation(r Remote, branch string) agent.Preparation {
	return agent.Preparation{
		URL: r.URL, Branch: branch, Dir: "work", Env: map[string]string{"GREETING": "pool"},
		Prepare: agent.Prepare{Run: [][]string{cmdTrue, cmdPrepare}, Files: []string{"no-such-file"}, Dirs: []string{"kept"}},
	}
}

// wantPrepared checks what became of a preparation: whether it was made now, of which commit.
func (f *fixture) wantPrepared(when string, in orchestrator.Inside, p agent.Preparation, made bool, commit string) {
	f.Helper()
	got, err := in.Prepare(f.ctx, p, nil)
	if err != nil || got.Failed != nil || got.Unshared != "" || got.Made != made || got.Commit != commit || got.Made && got.Took <= 0 {
		f.Errorf("%s: Prepare returns %+v, %v; want made %t of %s", when, got, err, made, commit)
	}
}

// sharing returns a container whose sessions begin with prepared layers, or none if the engine cannot.
func sharing(f *fixture) (h orchestrator.Host, in orchestrator.Inside, ok bool) {
	f.Helper()
	h = f.connect(f.Pool)
	c := f.ensure(h, f.own())
	in = f.attach(h, c.Name)
	f.fetch(in, f.Remote)
	if c.Isolation.SharedCheckouts {
		return h, in, true
	}
	made, err := in.Prepare(f.ctx, preparation(f.Remote, ""), nil)
	if err != nil || made.Unshared == "" || made.Made {
		f.Errorf("without shared checkouts Prepare returns %+v, %v", made, err)
	}
	return h, in, false
}

var prepareCases = []testCase{{
	rule: "a workspace is prepared once for a commit, sessions begin with it and change their own, and it survives the container",
	test: func(f *fixture) {
		h, in, ok := sharing(f)
		if !ok {
			return
		}
		p, head := preparation(f.Remote, ""), f.Remote.Head(f.Remote.Default)
		before := f.session("before")
		before.Prepare = p.Prepare
		if c := f.open(in, before); c.Prepared != "" {
			f.Errorf("a session begins with %q before anything is prepared", c.Prepared)
		}
		f.wantPrepared("at first", in, p, true, head)
		f.wantPrepared("again", in, p, false, head)
		for _, id := range []string{"s1", "s2"} {
			s := f.session(id)
			s.Prepare = p.Prepare
			c := f.open(in, s)
			if c.Prepared != head {
				f.Errorf("the checkout is %+v, want it prepared on %s", c, head)
			}
			_, checkout, _ := f.run(in, id, cmdRead(note(c)), nil)
			_, kept, _ := f.run(in, id, cmdRead("dep/greeting"), nil)
			if _, out, _ := f.run(in, id, cmdKept, nil); out != "home\n" {
				f.Errorf("%s reads %q in its home", id, out)
			}
			if checkout != "prepared\n" || kept != "pool\n" {
				f.Errorf("%s reads %q and %q", id, checkout, kept)
			}
			f.run(in, id, cmdWrite, text("mine"))
			if _, got, _ := f.run(in, id, cmdRead(note(c)), nil); got != "mine" {
				f.Errorf("%s has written, and reads %q", id, got)
			}
		}
		other := f.session("other")
		other.Prepare = p.Prepare
		other.Prepare.Run = other.Prepare.Run[1:]
		if c := f.open(in, other); c.Prepared != "" {
			f.Errorf("a session for which other commands run begins with %q", c.Prepared)
		}
		if err := h.Remove(f.ctx, f.own().Name, ""); err != nil {
			f.Fatalf("Remove: %v", err)
		}
		in = f.attach(h, f.ensure(h, f.own()).Name)
		f.fetch(in, f.Remote)
		f.wantPrepared("in another container", in, p, false, head)
	},
}, {
	rule: "a workspace that cannot be prepared is said to be, once, and sessions start without",
	test: func(f *fixture) {
		_, in, ok := sharing(f)
		if !ok {
			return
		}
		p := preparation(f.Remote, "")
		p.Prepare.Run = append(p.Prepare.Run, cmdFalse)
		for n := range 2 {
			made, err := in.Prepare(f.ctx, p, nil)
			if err != nil || made.Failed == nil || made.Commit != "" || made.Failed.Known != (n > 0) || !strings.Contains(made.Failed.Message, "false: exit status 1") {
				f.Errorf("Prepare returns %+v, %v", made, err)
			}
		}
		s := f.session("s1")
		s.Prepare = p.Prepare
		if c := f.open(in, s); c.Prepared != "" {
			f.Errorf("the checkout is %+v", c)
		}
		p.Prepare.Dirs = []string{"../dir"}
		if made, err := in.Prepare(f.ctx, p, nil); err == nil {
			f.Errorf("with a directory outside of the home, Prepare returns %+v", made)
		}
	},
}, {
	rule: "a prepared layer is taken out of a container, and is what it was in one that has nothing of it; what is not whole leaves nothing",
	test: func(f *fixture) {
		h, in, ok := sharing(f)
		if !ok {
			return
		}
		p, head := preparation(f.Remote, ""), f.Remote.Head(f.Remote.Default)
		f.wantPrepared("at first", in, p, true, head)
		look := p
		look.Look = true
		there, err := in.Prepare(f.ctx, look, nil)
		if err != nil || there.Commit != head || len(there.Key) != 32 {
			f.Fatalf("a look finds %+v, %v", there, err)
		}
		var stream bytes.Buffer
		if err := in.Layer(f.ctx, there.Key, head, &stream); err != nil {
			f.Fatalf("Layer: %v", err)
		}
		if err := in.Layer(f.ctx, strings.Repeat("0", 32), head, io.Discard); !errors.Is(err, agent.ErrNoLayer) {
			f.Errorf("Layer of none returns %v", err)
		}
		if err := errors.Join(h.Remove(f.ctx, f.own().Name, ""), h.RemoveMirror(f.ctx, f.own().Name)); err != nil {
			f.Fatalf("Remove: %v", err)
		}
		in = f.attach(h, f.ensure(h, f.own()).Name)
		f.fetch(in, f.Remote)
		if none, err := in.Prepare(f.ctx, look, nil); err != nil || none.Commit != "" || none.Key != there.Key {
			f.Errorf("without a mirror, a look finds %+v, %v", none, err)
		}
		offer, cut := agent.Offer{Key: there.Key}, errors.New("cut off")
		if made, err := in.PutLayer(f.ctx, offer, io.MultiReader(bytes.NewReader(stream.Bytes()), iotest.ErrReader(cut))); !errors.Is(err, cut) || made.Made {
			f.Errorf("of a stream that fails at its end, PutLayer makes %+v, %v", made, err)
		}
		if made, err := in.PutLayer(f.ctx, offer, bytes.NewReader(stream.Bytes()[:stream.Len()/2])); err == nil || made.Made {
			f.Errorf("of half a stream, PutLayer makes %+v, %v", made, err)
		}
		if none, err := in.Prepare(f.ctx, look, nil); err != nil || none.Commit != "" {
			f.Errorf("after these, a look finds %+v, %v", none, err)
		}
		if made, err := in.PutLayer(f.ctx, offer, bytes.NewReader(stream.Bytes())); err != nil || !made.Made || made.Commit != head || made.Size <= 0 {
			f.Errorf("PutLayer returns %+v, %v", made, err)
		}
		f.wantPrepared("after it was put there", in, p, false, head)
		s := f.session("s1")
		s.Prepare = p.Prepare
		begins(f, in, s, head, "prepared\n")
		if _, out, _ := f.run(in, "s1", cmdKept, nil); out != "home\n" {
			f.Errorf("it reads %q in its home", out)
		}
	},
}}

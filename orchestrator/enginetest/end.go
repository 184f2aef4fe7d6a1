package enginetest

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// talk reads a line of a command, calls between, answers the command, and reads its next line.
func (f *fixture) talk(in orchestrator.Inside, s agent.Session, between func()) {
	f.Helper()
	r, w := pipe()
	var out buffer
	p := f.start(in, agent.Command{Session: s.ID, Args: cmdAnswer, Stdin: r, Stdout: &out})
	f.eventually("the command has greeted", func() bool { return out.String() == "one\n" })
	between()
	f.write(w, "go on\n")
	w.Close()
	if exit, err := f.wait(p); err != nil || exit.Code != 0 || out.String() != "one\ntwo\n" {
		f.Errorf("it ended with %+v, %v and printed %q", exit, err, out.String())
	}
}

var endCases = []testCase{{
	rule: "closing an Inside ends its Wait with agent.ErrClosed, and not the command",
	test: func(f *fixture) {
		_, in, s := f.opened()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdForever})
		if err := in.Close(); err != nil {
			f.Errorf("Close: %v", err)
		}
		_, err := f.wait(p)
		f.wantErr("Wait", err, agent.ErrClosed)
	},
}, {
	rule: "closing a host closes every Inside that was attached through it",
	test: func(f *fixture) {
		h, in := f.inside()
		if err := h.Close(); err != nil {
			f.Errorf("Close: %v", err)
		}
		f.wantDone(in, agent.ErrClosed)
	},
}}

// wantPrompt checks that a call returns soon after the deadline of its context, with the context's error.
func (f *fixture) wantPrompt(what string, call func(context.Context) error) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, 200*time.Millisecond)
	defer cancel()
	f.wantEnd(what, ctx, context.DeadlineExceeded, call)
}

// wantEnd checks that a call returns soon after its context ends, with the context's error.
func (f *fixture) wantEnd(what string, ctx context.Context, want error, call func(context.Context) error) {
	f.Helper()
	ended := make(chan error, 1)
	go func() { ended <- call(ctx) }()
	<-ctx.Done()
	err, ok := received(ended, prompt)
	switch {
	case !ok:
		f.Errorf("%s: it has not returned %v after its context ended", what, prompt)
	case !errors.Is(err, want):
		f.Errorf("%s: the error is %v; want the context's", what, err)
	}
}

var contextCases = []testCase{{
	rule: "every call ends with its context",
	test: func(f *fixture) {
		h, in, s := f.opened()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdForever})
		second := f.spec(f.Pool, f.Second)
		name := f.own().Name
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		for what, call := range map[string]func(context.Context) error{
			"Connect": func(ctx context.Context) error {
				h, err := f.Engine.Connect(ctx, f.Pool)
				if err == nil {
					h.Close()
				}
				return err
			},
			"Probe":        h.Probe,
			"Ensure":       func(ctx context.Context) error { _, err := h.Ensure(ctx, second, nil); return err },
			"List":         func(ctx context.Context) error { _, err := h.List(ctx); return err },
			"Remove":       func(ctx context.Context) error { return h.Remove(ctx, name, "") },
			"RemoveMirror": func(ctx context.Context) error { return h.RemoveMirror(ctx, name) },
			"Purge":        h.Purge,
			"Attach":       func(ctx context.Context) error { _, err := h.Attach(ctx, name); return err },
			"Fetch": func(ctx context.Context) error {
				_, err := in.Fetch(ctx, agent.Fetch{URL: f.Remote.URL}, nil)
				return err
			},
			"Open":         func(ctx context.Context) error { _, err := in.Open(ctx, f.session("s2")); return err },
			"CloseSession": func(ctx context.Context) error { return in.CloseSession(ctx, s.ID, s.UID) },
			"Sessions":     func(ctx context.Context) error { _, err := in.Sessions(ctx); return err },
			"FillCaches": func(ctx context.Context) error {
				_, err := in.FillCaches(ctx, agent.Fill{URL: f.Remote.URL}, nil)
				return err
			},
			"Prepare": func(ctx context.Context) error {
				_, err := in.Prepare(ctx, preparation(f.Remote, ""), nil)
				return err
			},
			"KeepWork": func(ctx context.Context) error {
				_, err := in.KeepWork(ctx, agent.Keep{Session: s.ID, Count: 1, Bytes: 1 << 20, Age: time.Hour})
				return err
			},
			"Promote": func(ctx context.Context) error {
				_, err := in.Promote(ctx, agent.Promotion{Session: s.ID}, nil)
				return err
			},
			"Renew": func(ctx context.Context) error { return in.Renew(ctx, s.ID) },
			"Idle":  func(ctx context.Context) error { _, err := in.Idle(ctx, s.ID); return err },
			"Start": func(ctx context.Context) error {
				_, err := in.Start(ctx, agent.Command{Session: s.ID, Args: cmdTrue})
				return err
			},
			"Kill": p.Kill,
		} {
			f.wantEnd(what, ctx, context.Canceled, call)
		}
		if containers, _ := f.list(h); !containers[name].Running {
			f.Errorf("after calls that had no time there is %+v", containers)
		}
		if _, err := in.Sessions(f.ctx); err != nil {
			f.Errorf("after calls that had no time Sessions returns %v", err)
		}
	},
}, {
	rule: "an ensure that is given up leaves nothing, and the next one succeeds",
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		for _, after := range []time.Duration{5 * time.Millisecond, 40 * time.Millisecond, 200 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(f.ctx, after)
			_, err := h.Ensure(ctx, spec, nil)
			cancel()
			if err == nil { // it was faster
				if err := h.Remove(f.ctx, spec.Name, ""); err != nil {
					f.Fatal(err)
				}
				if err := h.RemoveMirror(f.ctx, spec.Name); err != nil {
					f.Fatal(err)
				}
			}
			f.wantNothing(h)
		}
		f.ensure(h, spec)
		f.attach(h, spec.Name)
	},
}, {
	rule: "of two callers that ensure one container, one that gives up does not stop the other",
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		ctx, cancel := context.WithTimeout(f.ctx, 30*time.Millisecond)
		defer cancel()
		other := make(chan error, 1)
		go func() { _, err := h.Ensure(ctx, spec, nil); other <- err }()
		f.ensure(h, spec)
		<-other
		f.attach(h, spec.Name)
	},
}}

package enginetest

import (
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

func (f *fixture) idle(in orchestrator.Inside, session string) time.Duration {
	f.Helper()
	idle, err := in.Idle(f.ctx, session)
	if err != nil {
		f.Fatalf("Idle: %v", err)
	}
	return idle
}

func (f *fixture) wantBusy(in orchestrator.Inside, session string) {
	f.Helper()
	if idle := f.idle(in, session); idle != 0 {
		f.Errorf("while a command runs the session is idle for %v", idle)
	}
}

// wantIdle checks that a session has been idle since a time between earliest and latest, and that its idle time increases.
func (f *fixture) wantIdle(in orchestrator.Inside, session string, earliest, latest time.Time) {
	f.Helper()
	f.eventually("the idle time increases", func() bool {
		least := time.Since(latest)
		idle := f.idle(in, session)
		if most := time.Since(earliest); idle < least || idle > most {
			f.Fatalf("the session is idle for %v; want between %v and %v", idle, least, most)
		}
		return idle > 60*time.Millisecond
	})
}

var idleCases = []testCase{{
	rule: "a session is idle since it was first opened",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		s := f.session("s1")
		before := time.Now()
		f.open(in, s)
		opened := time.Now()
		f.wantIdle(in, s.ID, before, opened)
		f.open(in, s)
		f.wantIdle(in, s.ID, before, opened)
	},
}, {
	rule: "a session is not idle while a command runs, and is from the end of the last one",
	test: func(f *fixture) {
		_, in, s := f.opened()
		f.wantIdle(in, s.ID, time.Time{}, time.Now())
		r, w := pipe()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdCat, Stdin: r})
		f.wantBusy(in, s.ID)
		f.run(in, s.ID, cmdTrue, nil)
		f.wantBusy(in, s.ID)
		before := time.Now()
		w.Close()
		if _, err := f.wait(p); err != nil {
			f.Fatalf("Wait: %v", err)
		}
		ended := time.Now()
		f.wantIdle(in, s.ID, before, ended)
		_, err := in.Start(f.ctx, agent.Command{Session: s.ID, Args: cmdAbsent})
		f.wantErr("Start", err, agent.ErrNotExecutable)
		f.wantIdle(in, s.ID, before, ended)
	},
}, {
	rule: "a session is idle from the moment when its command was killed",
	test: func(f *fixture) {
		_, in, s := f.opened()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdTree})
		f.wantBusy(in, s.ID)
		before := time.Now()
		if err := p.Kill(f.ctx); err != nil {
			f.Fatalf("Kill: %v", err)
		}
		f.wantIdle(in, s.ID, before, time.Now())
	},
}, {
	rule: "the commands of one session do not keep another busy",
	test: func(f *fixture) {
		_, in, s := f.opened()
		other := f.session("s2")
		before := time.Now()
		f.open(in, other)
		opened := time.Now()
		f.start(in, agent.Command{Session: s.ID, Args: cmdForever})
		f.wantIdle(in, other.ID, before, opened)
		f.wantBusy(in, s.ID)
	},
}, {
	rule: "a command keeps its session busy when the Inside that started it is closed",
	test: func(f *fixture) {
		h, in, s := f.opened()
		f.wantIdle(in, s.ID, time.Time{}, time.Now())
		f.start(in, agent.Command{Session: s.ID, Args: cmdForever})
		if err := in.Close(); err != nil {
			f.Errorf("Close: %v", err)
		}
		f.wantBusy(f.attach(h, f.own().Name), s.ID)
	},
}, {
	rule: "a session is idle from the end of its command, even if no process was attached then",
	test: func(f *fixture) {
		h, in, s := f.opened()
		begun := time.Now()
		f.start(in, agent.Command{Session: s.ID, Args: cmdBrief})
		if err := in.Close(); err != nil {
			f.Errorf("Close: %v", err)
		}
		in = f.attach(h, f.own().Name)
		var idle time.Duration
		f.eventually("the command has ended", func() bool { idle = f.idle(in, s.ID); return idle > 0 })
		if most := time.Since(begun) - brief; idle > most {
			f.Errorf("the session is idle for %v, but its command ended no more than %v ago", idle, most)
		}
	},
}, {
	rule: "a session is idle from the moment when it was renewed, and no other session with it",
	test: func(f *fixture) {
		h, in, s := f.opened()
		other := f.session("s2")
		before := time.Now()
		f.open(in, other)
		opened := time.Now()
		f.wantIdle(in, s.ID, time.Time{}, opened)
		renewed := time.Now()
		if err := f.attach(h, f.own().Name).Renew(f.ctx, s.ID); err != nil { // by another client
			f.Fatalf("Renew: %v", err)
		}
		f.wantIdle(in, s.ID, renewed, time.Now())
		f.wantIdle(in, other.ID, before, opened)
	},
}, {
	rule: "a session is busy while a command runs, and idle from that one's end, when it is renewed meanwhile",
	test: func(f *fixture) {
		_, in, s := f.opened()
		r, w := pipe()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdCat, Stdin: r})
		if err := in.Renew(f.ctx, s.ID); err != nil {
			f.Fatalf("Renew: %v", err)
		}
		f.wantBusy(in, s.ID)
		before := time.Now()
		w.Close()
		if _, err := f.wait(p); err != nil {
			f.Fatalf("Wait: %v", err)
		}
		f.wantIdle(in, s.ID, before, time.Now())
	},
}, {
	rule: "the idle time of a session that is not open is agent.ErrUnknownSession",
	test: func(f *fixture) {
		_, in, s := f.opened()
		_, err := in.Idle(f.ctx, "never-opened")
		f.wantErr("Idle", err, agent.ErrUnknownSession)
		f.wantErr("Renew", in.Renew(f.ctx, "never-opened"), agent.ErrUnknownSession)
		if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Fatalf("CloseSession: %v", err)
		}
		_, err = in.Idle(f.ctx, s.ID)
		f.wantErr("Idle of a closed session", err, agent.ErrUnknownSession)
		f.wantErr("Renew of a closed session", in.Renew(f.ctx, s.ID), agent.ErrUnknownSession)
	},
}}

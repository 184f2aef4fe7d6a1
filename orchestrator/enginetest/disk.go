package enginetest

import (
	"strings"

	"github.com/berth-go/berth/agent"
)

// DiskLimit is what each session may have on the disk in the container of the case that fills it.
const DiskLimit = 16 << 20

var diskCases = []testCase{{
	rule:  "a session that uses more of the disk than it may is ended, and all that concerns it says so",
	needs: needsFill,
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		spec.Limits.Session.DiskBytes = DiskLimit
		in := f.attach(h, f.ensure(h, spec).Name)
		f.fetch(in, f.Remote)
		guilty, neighbour := f.session("s1"), f.session("s2")
		f.open(in, guilty)
		f.open(in, neighbour)
		p := f.start(in, agent.Command{Session: guilty.ID, Args: cmdForever})
		beside := f.start(in, agent.Command{Session: neighbour.ID, Args: cmdBrief})
		f.FillDisk(f.T, spec.Name, guilty)
		exit, err := f.wait(p)
		if err != nil || exit.Signal == 0 || !strings.HasPrefix(exit.OverLimit, "disk: used ") {
			f.Errorf("its command ended with %+v, %v; want OverLimit", exit, err)
		}
		ended, err := in.EndedSessions(f.ctx, 0)
		if err != nil || len(ended) != 1 || ended[0] != (agent.EndedSession{ID: guilty.ID, Reason: exit.OverLimit, Number: 1}) {
			f.Errorf("EndedSessions gives %v, %v", ended, err)
		}
		_, err = in.Start(f.ctx, agent.Command{Session: guilty.ID, Args: cmdTrue})
		f.wantErr("Start", err, agent.ErrOverLimit)
		_, err = in.Idle(f.ctx, guilty.ID)
		f.wantErr("Idle", err, agent.ErrOverLimit)
		f.wantErr("Renew", in.Renew(f.ctx, guilty.ID), agent.ErrOverLimit)
		_, err = in.Open(f.ctx, guilty)
		f.wantErr("Open", err, agent.ErrOverLimit)
		if open, err := in.Sessions(f.ctx); err != nil || open[guilty.ID] != guilty.UID {
			f.Errorf("Sessions gives %v, %v; want it until it is closed", open, err)
		}
		if err := in.CloseSession(f.ctx, guilty.ID, guilty.UID); err != nil {
			f.Errorf("CloseSession: %v", err)
		}
		if open, err := in.Sessions(f.ctx); err != nil || len(open) != 1 || open[neighbour.ID] == 0 {
			f.Errorf("afterwards, Sessions gives %v, %v", open, err)
		}
		if exit, err := f.wait(beside); err != nil || exit != (agent.Exit{}) {
			f.Errorf("a neighbour's %q ended with %+v, %v; want success", cmdBrief, exit, err)
		}
		f.FillDisk(f.T, spec.Name, neighbour)
		for _, seen := range []int{1, 0} { // the first waits
			ended, err := in.EndedSessions(f.ctx, seen)
			if n := len(ended); err != nil || n == 0 || ended[n-1].ID != neighbour.ID || ended[n-1].Number != 2 || n > 2-seen {
				f.Errorf("after the number %d, EndedSessions gives %v, %v", seen, ended, err)
			}
		}
	},
}}

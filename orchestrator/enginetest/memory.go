package enginetest

import (
	"io"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// MemoryLimit is the memory of the containers whose memory a case uses up.
const MemoryLimit = 128 << 20

// small returns a container with MemoryLimit and two open sessions. A session in a room may have half of the memory: when the whole
// container has none left, the kernel sometimes ends a second process before the first one has given up its memory.
func (f *fixture) small() (orchestrator.Host, orchestrator.Inside, []agent.Session) {
	f.Helper()
	h, spec := f.connect(f.Pool), f.own()
	spec.Limits.MemoryBytes = MemoryLimit
	spec.Limits.Session.MemoryBytes = MemoryLimit / 2
	in := f.attach(h, f.ensure(h, spec).Name)
	f.fetch(in, f.Remote)
	sessions := []agent.Session{f.session("s1"), f.session("s2")}
	for _, s := range sessions {
		f.open(in, s)
	}
	return h, in, sessions
}

var memoryCases = []testCase{{
	rule: "a command that is killed for lack of memory says so, and so does one whose child is killed",
	test: func(f *fixture) {
		_, in, sessions := f.small()
		for _, hog := range [][]string{cmdHog, cmdHogChild} {
			stdin := io.LimitReader(zeroReader{}, 8*MemoryLimit)
			p := f.start(in, agent.Command{Session: sessions[0].ID, Args: hog, Stdin: stdin})
			brief := f.start(in, agent.Command{Session: sessions[1].ID, Args: cmdBrief})
			if f.UseMemory != nil {
				f.UseMemory(f.T, f.own().Name, sessions[0].ID)
			}
			exit, err := f.wait(p)
			if err != nil || !exit.OutOfMemory || exit.Code == 0 {
				f.Errorf("%q ended with %+v, %v; want OutOfMemory", hog, exit, err)
			}
			if exit, err := f.wait(brief); err != nil || exit != (agent.Exit{}) {
				f.Errorf("a neighbour's %q ended with %+v, %v; want success", cmdBrief, exit, err)
			}
		}
		for _, s := range sessions {
			if exit, _, _ := f.run(in, s.ID, cmdFalse, nil); exit != (agent.Exit{Code: 1}) {
				f.Errorf("afterwards, %q ended with %+v; want code 1 without OutOfMemory", cmdFalse, exit)
			}
		}
	},
}, {
	rule:  "a container that was killed after its memory had been used up says so",
	needs: needsKillOutOfMemory,
	test: func(f *fixture) {
		h, in, sessions := f.small()
		p := f.start(in, agent.Command{Session: sessions[0].ID, Args: cmdForever})
		f.KillOutOfMemory(f.T, f.own().Name)
		f.wantDone(in, agent.ErrGone)
		f.wantErr("Err", in.Err(), agent.ErrOutOfMemory)
		_, err := f.wait(p)
		f.wantErr("Wait", err, agent.ErrGone)
		f.wantErr("Wait", err, agent.ErrOutOfMemory)
		_, err = h.Attach(f.ctx, f.own().Name)
		f.wantErr("Attach", err, agent.ErrGone)
		f.wantErr("Attach", err, agent.ErrOutOfMemory)
	},
}}

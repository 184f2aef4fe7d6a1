package fake

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
)

// history has the commands of a session: those that run, and the last ones that have ended, as an agent remembers them.
type history struct {
	mu    sync.Mutex // protects what follows, and the records
	seq   uint64
	all   []*record // in the order of their starts
	ended int       // how many of them have ended
	size  int       // bytes of the arguments of those
}

// record is what is remembered of one command.
type record struct {
	agent.CommandInfo
	size    int      // bytes of the arguments
	running *process // nil = it has ended
	process *process // nil = it is not detached
}

// begin adds a command that starts.
func (h *history) begin(session string, p *process) *record {
	r := &record{running: p}
	if r.Detached = p.started.Detached; r.Detached {
		r.process = p
	}
	r.Args, r.size, r.ArgsCut = agent.RecalledArgs(slices.Clone(p.started.Args))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	r.Seq, r.ID, r.Pid, r.Started = h.seq, fmt.Sprintf("%s-%d", session, h.seq), int(h.seq)+1, time.Now()
	h.all = append(h.all, r)
	return r
}

// end notes how a command has ended, and forgets the oldest ended ones if there are too many.
func (h *history) end(r *record, exit agent.Exit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.count()
	r.running, r.Ended, r.Exit = nil, time.Now(), exit
	h.ended, h.size = h.ended+1, h.size+r.size
	for h.ended > agent.MostEnded || h.size > agent.MostRecalled && h.ended > 1 {
		i := slices.IndexFunc(h.all, func(r *record) bool { return r.running == nil })
		h.ended, h.size = h.ended-1, h.size-h.all[i].size
		h.all = slices.Delete(h.all, i, i+1)
	}
}

// count updates the bytes of a command that runs.
func (r *record) count() {
	if p := r.running; p != nil && p.stdout != nil {
		r.Stdout = p.stdout.written.Load()
		if p.stderr != p.stdout {
			r.Stderr = p.stderr.written.Load()
		}
	}
}

// detached returns a detached command, or nil if there is none or it is forgotten.
func (h *history) detached(id string) *process {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.all {
		if r.ID == id {
			return r.process
		}
	}
	return nil
}

// list returns the first commands that were started after another one, in the order of their starts.
func (h *history) list(after uint64) []agent.CommandInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	some := []agent.CommandInfo{}
	for _, r := range h.all {
		if r.Seq > after && len(some) < agent.CommandPage {
			r.count()
			some = append(some, r.CommandInfo)
		}
	}
	return some
}

// Commands implements [orchestrator.Inside].
func (i *inside) Commands(ctx context.Context, session string, after uint64) ([]agent.CommandInfo, error) {
	r, err := i.begin(ctx, Commands, session, i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return nil, err
	}
	some, err := i.commands(session, after)
	if err = i.finish(ctx, r, err); err != nil {
		return nil, err
	}
	return some, nil
}

func (i *inside) commands(session string, after uint64) ([]agent.CommandInfo, error) {
	n := i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return nil, err
	}
	s, err := i.container.usable(session)
	if err != nil || s.history == nil {
		return nil, err
	}
	return s.history.list(after), nil
}

// ID implements [orchestrator.Process].
func (p *process) ID() string { return p.record.ID }

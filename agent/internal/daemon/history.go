package daemon

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// history is what a session's commands are: those that run, and the last ones that have ended. A command stays in it when its
// client has taken the exit code.
type history struct {
	mu    sync.Mutex // protects what follows, and the records
	seq   uint64
	all   []*record // in the order of their starts
	ended int       // how many of them have ended
	size  int       // bytes of the arguments of those
}

// A record is what is remembered of one command. It does not hold the command: that may have output and input with it.
type record struct {
	wire.Command // without the numbers that change
	size         int
	begun, over  time.Time
	dropped      bool    // its output is not kept any more
	out, errs    *output // count the bytes; nil = there is no such stream
}

// begin adds a command that has been started, with the arguments as the client gave them.
func (h *history) begin(c *command, args [][]byte) *record {
	r := &record{out: c.out, errs: c.errs}
	r.ID, r.Pid = c.id, c.proc.Pid
	r.Detached = c.detached
	r.Args, r.size, r.Cut = wire.Recalled(args)
	if r.Cut {
		for i, a := range r.Args {
			r.Args[i] = bytes.Clone(a) // the rest may be large
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	r.Seq, r.begun = h.seq, time.Now()
	h.all = append(h.all, r)
	return r
}

// end notes how a command has ended, and forgets the oldest ended ones if there are too many. It returns the IDs of the detached ones whose
// output is not to be kept any more: those that are forgotten, and the oldest, if it is too much.
func (h *history) end(r *record, exit wire.Exit) (over []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Exit, r.over = &exit, time.Now()
	h.ended, h.size = h.ended+1, h.size+r.size
	for h.ended > wire.MostEnded || h.size > wire.MostRecalled && h.ended > 1 {
		i := slices.IndexFunc(h.all, func(r *record) bool { return r.Exit != nil })
		h.ended, h.size = h.ended-1, h.size-h.all[i].size
		if h.all[i].Detached {
			over = append(over, h.all[i].ID)
		}
		h.all = slices.Delete(h.all, i, i+1)
	}
	kept := int64(0)
	for _, r := range slices.Backward(h.all) {
		if r.Detached && r.Exit != nil && !r.dropped {
			if kept += r.out.held() + r.errs.held(); kept > wire.MostKept {
				r.dropped = true
				over = append(over, r.ID)
			}
		}
	}
	return over
}

// held returns how many bytes of an output the disk has.
func (o *output) held() int64 {
	if o == nil || o.ring == nil {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return min(o.ring.next, o.ring.size)
}

// list returns the first commands that were started after another one, in the order of their starts.
func (h *history) list(after uint64) []wire.Command {
	h.mu.Lock()
	defer h.mu.Unlock()
	from, _ := slices.BinarySearchFunc(h.all, after+1, func(r *record, seq uint64) int { return cmp.Compare(r.Seq, seq) })
	some := make([]wire.Command, 0, min(len(h.all)-from, wire.CommandPage))
	for _, r := range h.all[from:][:cap(some)] {
		c := r.Command
		c.Age, c.Stdout, c.Stderr = time.Since(r.begun).Seconds(), r.out.total(), r.errs.total()
		if c.Exit != nil {
			c.Since = time.Since(r.over).Seconds()
		}
		some = append(some, c)
	}
	return some
}

// total returns how many bytes the program has written that were read from it. A nil output has none.
func (o *output) total() int64 {
	if o == nil {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ring != nil {
		return o.ring.next
	}
	return o.base + int64(o.kept.size)
}

// listCommands answers with the commands of a session.
func (ss *sessions) listCommands(r *request) error {
	after, err := strconv.ParseUint(r.query.Get("after"), 10, 63)
	if err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: "no number"}
	}
	s, err := ss.get(r.values["id"])
	if err != nil {
		return err
	}
	return writeJSON(r, s.history.list(after))
}

package daemon

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/pause"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/wire"
)

// endings are the sessions that the agent has ended by itself, in order. Those that are not open any more are dropped: the client
// that closed such a session knew that it was over. So there are never more than sessions were open at once.
type endings struct {
	open func(session string) bool // reports whether a session is open, ended or not

	mu      sync.Mutex // protects what follows
	all     []wire.Ended
	last    int           // the number of the last one
	changed chan struct{} // closed and replaced at the next one
}

func newEndings(open func(session string) bool) *endings {
	return &endings{open: open, changed: make(chan struct{})}
}

func (e *endings) add(id, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	e.all = slices.DeleteFunc(e.all, func(one wire.Ended) bool { return !e.open(one.ID) })
	e.all = append(e.all, wire.Ended{ID: id, Reason: reason, Number: e.last})
	close(e.changed)
	e.changed = make(chan struct{})
}

// since returns those with a number above n, and a channel that is closed when there are more.
func (e *endings) since(n int) ([]wire.Ended, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	from, _ := slices.BinarySearchFunc(e.all, n, func(one wire.Ended, n int) int { return cmp.Compare(one.Number, n+1) })
	return slices.Clone(e.all[from:]), e.changed
}

// listEnded answers with the sessions that the agent has ended by itself, as soon as there is one that the client has not heard of.
func (d *Daemon) listEnded(r *request) error {
	seen, err := strconv.Atoi(r.query.Get("seen"))
	if err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: "no number"}
	}
	ctx, cancel := context.WithTimeout(r.Context(), wire.Poll)
	defer cancel()
	for {
		some, changed := d.endings.since(seen)
		if len(some) > 0 {
			return writeJSON(r, some)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return writeJSON(r, []wire.Ended{})
		}
	}
}

// endTimeout bounds the end of a session that is over its limit. To remove millions of files takes long.
const endTimeout = 10 * time.Minute

// endOver ends a session that uses more than it may: it kills its processes, and then removes its files. The session stays known,
// with the reason, until a client closes it.
func (d *Daemon) endOver(ctx context.Context, s *session, reason string) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	release, err := d.sessions.acquire(ctx, s.ID, s.UID)
	if err != nil {
		return // it is being closed
	}
	defer release()
	if !d.sessions.condemn(s, reason) {
		return
	}
	d.Log.Warn("a session is ended: it uses more than it may", "session", s.ID, "reason", reason)
	for told := false; ; {
		err := d.stop(ctx, s)
		if err == nil && !told {
			d.endings.add(s.ID, reason)
			told = true
		}
		if err == nil {
			err = d.empty(ctx, s)
		}
		if err == nil {
			return
		}
		d.Log.Error("a session that uses more than it may is not gone yet", "session", s.ID, "error", err)
		if pause.Sleep(ctx, time.Second) != nil {
			return // a client that closes it tries again
		}
	}
}

// condemn notes why a session is ended, unless that was done, or it was closed.
func (ss *sessions) condemn(s *session, reason string) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.byID[s.ID] != s || s.closing {
		return false
	}
	s.over, s.closing = reason, true
	return true
}

// living returns the sessions that are not being ended.
func (ss *sessions) living() (some []*session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, s := range ss.byID {
		if !s.closing {
			some = append(some, s)
		}
	}
	return some
}

// known reports whether a session is open. One that the agent has ended is, until a client closes it.
func (ss *sessions) known(id string) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.byID[id] != nil
}

// whyEnded returns why the agent has ended a session; "" = it has not.
func (ss *sessions) whyEnded(s *session) string {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return s.over
}

// newMeter returns what measures the sessions' files. They lie on the file system of the sessions' directory, which is fs now.
func newMeter(d *Daemon, limit place.Usage, fs syscall.Statfs_t) *meter {
	return &meter{places: d.places, limit: limit, last: fs, roomed: d.Rooms != nil, open: d.sessions.living, end: d.endOver}
}

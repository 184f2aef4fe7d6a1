package replica

import (
	"context"
	"sync/atomic"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/store"
)

// membership says whether this process may act on what it owns. It may while it holds its own lease. If the process
// cannot renew the lease, the others take it for dead and take over what it owns. So it stops acting before they can: the
// lease's keeper gives up a third of the term before its end.
type membership struct {
	current atomic.Pointer[period]
}

// period is a time in which this process is a member, or the wait for the next one.
type period struct {
	ctx   context.Context // ends with the membership; nil = this process is no member
	begun chan struct{}   // closed when the next membership begins; nil while there is one
}

func (m *membership) init() { m.current.Store(&period{begun: make(chan struct{})}) }

// hold makes this process a member until ctx ends.
func (m *membership) hold(ctx context.Context) {
	before := m.current.Swap(&period{ctx: ctx})
	close(before.begun)
	<-ctx.Done()
	m.init()
}

// Member reports whether this process may act now.
func (r *Replica) Member() bool {
	now := r.member.current.Load()
	return now.ctx != nil && now.ctx.Err() == nil
}

// Acting returns a context that ends when this process may not act any more. It waits until the process may.
func (r *Replica) Acting(ctx context.Context) (context.Context, error) {
	for {
		now := r.member.current.Load()
		if now.ctx != nil {
			return now.ctx, nil
		}
		select {
		case <-now.begun:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// MayAct waits until this process may begin something. ErrSuspended: it has not been allowed to for a whole Term.
func (r *Replica) MayAct(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, Term, errs.ErrSuspended)
	defer cancel()
	_, err := r.Acting(ctx)
	return err
}

// serve is the work under this process's own lease.
func (r *Replica) serve(ctx context.Context, _ store.Lease) {
	r.listed.Store(false) // a planner that took this process for dead may have removed it
	r.member.hold(ctx)
	r.cfg.Sessions.Interrupt(errs.ErrSuspended)
}

package berth

import (
	"context"
	"sync/atomic"

	"github.com/berth-go/berth/store"
)

// tenure is the time during which this process may act on what it owns: the sessions that it creates and ends, the
// containers that it starts and removes. It has one while it holds its own lease. When it cannot renew that, the
// others will take it for dead and take over what it owns, so it stops acting before they can: the lease's keeper
// gives up a third of the term before its end.
type tenure struct {
	now atomic.Pointer[term]
}

// term is one tenure, or the wait for the next one.
type term struct {
	ctx   context.Context // ends with the tenure; nil = there is none
	begun chan struct{}   // closed when the next tenure has begun; nil while there is one
}

func (t *tenure) init() { t.now.Store(&term{begun: make(chan struct{})}) }

// hold has a tenure until ctx ends.
func (t *tenure) hold(ctx context.Context) {
	before := t.now.Swap(&term{ctx: ctx})
	close(before.begun)
	<-ctx.Done()
	t.init()
}

// await returns the context of the tenure, and waits for one if there is none.
func (t *tenure) await(ctx context.Context) (context.Context, error) {
	for {
		now := t.now.Load()
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

// mayAct waits until this process may begin something. ErrSuspended: it may not, and has not been able to for a whole term.
func (p *Provider) mayAct(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, replicaTerm, ErrSuspended)
	defer cancel()
	_, err := p.tenure.await(ctx)
	return err
}

// serve is the work under this process's own lease.
func (p *Provider) serve(ctx context.Context, _ store.Lease) {
	p.registered.Store(false) // whoever took this process for dead may have removed it: tendLoop looks
	p.tenure.hold(ctx)
	p.interruptAll(ErrSuspended)
}

// interruptAll ends the creations that are under way in this process.
func (p *Provider) interruptAll(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.live {
		l.interrupt(cause)
	}
}

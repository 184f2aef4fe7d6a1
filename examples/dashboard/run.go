package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/examples/internal/narrate"
)

// clearTimeout bounds the removal of everything at the end.
const clearTimeout = 2 * time.Minute

// run opens a pool, and serves and uses it until ctx ends. Then it destroys the pool. begun, if not nil, is called when the
// server answers.
func run(ctx context.Context, o options, out *narrate.Printer, begun func(url string, st *stage)) error {
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	meters, registry, err := newMetrics()
	if err != nil {
		return err
	}
	cfg := config(o, out)
	cfg.MeterProvider = meters
	st, err := newStage(ctx, o, out, cfg)
	if err != nil && ctx.Err() != nil {
		return nil // nothing was made yet
	}
	if err != nil {
		return err
	}
	var view dashboard.Options
	if o.actions {
		view.Authorize = func(*http.Request, dashboard.Action) error { return nil }
	}
	// The server ends after the pool, so that it can be seen how that ends.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- serve(serving, listener, handler(st.provider, registry, view)) }()

	url := "http://" + listener.Addr().String()
	out.Say("The dashboard: %s/  Metrics: %s/metrics  Health: %s/healthz  Ctrl-C ends it", url, url, url)
	if begun != nil {
		begun(url, st)
	}
	working, rest := context.WithCancel(ctx)
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		(&load{provider: st.provider, repos: st.repos, users: o.users, task: o.task, out: out}).run(working)
	}()
	select {
	case <-ctx.Done():
		out.Say("Removing what was made")
	case err = <-served:
		served <- err
	}
	rest()
	<-loaded
	err = st.clear(out)
	stop()
	return errors.Join(err, <-served, shutdown(meters.Shutdown))
}

// shutdown ends something within a time that does not depend on the program's.
func shutdown(end func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return end(ctx)
}

// clear destroys the pool, and checks that nothing is left of it.
func (s *stage) clear(out *narrate.Printer) error {
	defer s.close()
	ctx, cancel := context.WithTimeout(context.Background(), clearTimeout)
	defer cancel()
	err := s.provider.Destroy(ctx)
	var left []string
	if listErr := shutdown(func(ctx context.Context) (err error) {
		left, err = s.left(ctx)
		return err
	}); listErr != nil {
		err = errors.Join(err, listErr)
	}
	for _, thing := range left {
		err = errors.Join(err, fmt.Errorf("%s is left", thing))
	}
	if err != nil {
		return fmt.Errorf("removing the pool: %w", err)
	}
	out.Say("The pool is destroyed, and nothing of it is left")
	return nil
}

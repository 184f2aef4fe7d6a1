package dockerengine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestEarlyWorkEndsWithAPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e early
		ended := make(chan error, 2)
		begun := func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		go func() { ended <- e.do(t.Context(), begun) }()
		e.start(func(ctx context.Context) { ended <- begun(ctx) })
		synctest.Wait()
		resume := e.stop()
		for range 2 {
			select {
			case err := <-ended:
				if !errors.Is(err, errPurging) {
					t.Errorf("the work ended with %v", err)
				}
			default:
				t.Error("stop did not wait for the work")
			}
		}
		ran := false
		e.start(func(context.Context) { ran = true })
		err := e.do(t.Context(), func(context.Context) error { ran = true; return nil })
		synctest.Wait()
		if ran || !errors.Is(err, errPurging) {
			t.Errorf("work began during a purge; do returned %v", err)
		}
		resume()
		if err := e.do(t.Context(), func(ctx context.Context) error { ran = true; return context.Cause(ctx) }); err != nil || !ran {
			t.Errorf("after the purge: %v, ran = %v", err, ran)
		}
	})
}

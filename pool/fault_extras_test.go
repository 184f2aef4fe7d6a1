package pool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

// plainCloud is a cloud without optional methods.
type plainCloud struct{ c pool.Cloud }

func (p plainCloud) Prepare(ctx context.Context, s pool.Spec) (pool.Frozen, error) {
	return p.c.Prepare(ctx, s)
}

func (p plainCloud) Launch(ctx context.Context, id string, f pool.Frozen) (pool.Machine, error) {
	return p.c.Launch(ctx, id, f)
}

func (p plainCloud) List(ctx context.Context) ([]pool.Machine, error) { return p.c.List(ctx) }

func (p plainCloud) Terminate(ctx context.Context, ids ...string) (map[string]error, error) {
	return p.c.Terminate(ctx, ids...)
}

func TestCloudWithoutExtras(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		r.cfg.Cloud = plainCloud{r.cloud}
		r.cloud.EndAtBoot(1, "Server.InternalError")
		r.start()
		time.Sleep(time.Minute)
		r.want("ready")
		if r.one().Generation != "" || r.cloud.Calls(fake.Generation)+r.cloud.Calls(fake.Explain) != 0 {
			t.Errorf("%+v", r.one())
		}
	})
}

func TestFault42BootThatFailsIsExplained(t *testing.T) {
	for name, ask := range map[string]struct {
		fault fake.Fault
		want  string
	}{
		"the cloud knows": {fake.Fault{}, "cloud-init: apt is locked"},
		"it does not":     {fake.Fault{Before: errors.New("no console")}, "it did not boot in time: context deadline exceeded"},
		"it hangs":        {fake.Fault{Hang: true}, "it did not boot in time: context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
				m := r.start()
				time.Sleep(2 * time.Second)
				id := r.one().ID
				r.sicken(id, errHangs)
				r.cloud.SetConsole(id, strings.Repeat("x", 100000)+"\x1b[31m\x00cloud-init:\tapt is locked\xff\n\n")
				r.cloud.Next(fake.Explain, 1, ask.fault)
				r.within(5*time.Minute+20*time.Second, "the launch failed", func() bool { return m.Stats().LaunchFailures == 1 })
				reason := r.reasons[0]
				if len(reason) > 1100 || strings.ContainsAny(reason, "\x1b\x00\ufffd") || !strings.HasSuffix(reason, ask.want) {
					t.Errorf("the reason is %q", reason)
				}
				if !strings.Contains(r.logs(), "a launch failed") {
					t.Errorf("it is not logged: %s", r.log())
				}
				if n := r.cloud.Calls(fake.Explain); n != 1 {
					t.Errorf("it was asked %d times", n)
				}
				r.withinStates(time.Minute, "ready")
			})
		})
	}
}

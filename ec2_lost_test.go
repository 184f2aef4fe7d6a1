package berth_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/ec2test"
	"github.com/berth-go/berth/store/memstore"
)

// TestFault60MemoryIsLost: a process with two instances is killed, and its store is lost with it.
func TestFault60MemoryIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration // EC2Config.EndForeignAfter
		left  int           // of the lost store's instances, an hour later
		says  string
	}{
		"left alone":  {0, 2, "they are left alone"},
		"ended after": {10 * time.Minute, 0, "ended a machine of another store"},
	} {
		t.Run(name, func(t *testing.T) {
			onEC2(t, func(a *account) {
				l := &tale{account: a}
				l.prepare()
				a.cfg.EC2.EndForeignAfter = c.after
				first, err := a.begin("first", killPoint{})
				if err != nil {
					a.Fatal(err)
				}
				for _, task := range l.tasks {
					if _, err := first.CreateSession(a.Context(), asking(task.name, task.repo)); err != nil {
						a.Fatal(err)
					}
				}
				lost := a.alive(2)
				time.Sleep(time.Minute)
				l.rest() // from now on there are instances without a record
				first.kill()
				a.cfg.Store = memstore.New()
				next, err := a.begin("next", killPoint{})
				if err != nil {
					a.Fatal(err)
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(a.Context(), 2*time.Hour)
				defer cancel()
				s, err := next.CreateSession(ctx, asking("t1", repoA))
				if err != nil {
					a.Fatalf("the task cannot begin anew: %v\n%s", err, a.log)
				}
				if waited := time.Since(began); (waited > 10*time.Minute) != (c.after > 0) {
					a.Errorf("it waited for %v", waited)
				}
				time.Sleep(50 * time.Minute)
				left := 0
				for _, i := range lost {
					if a.server.Instance(i.ID).State == ec2test.Running {
						left++
					}
				}
				pool := next.Stats().Pool
				if left != c.left || pool.Foreign != c.left || int(pool.ForeignEnded) != 2-c.left || !strings.Contains(a.log.String(), c.says) {
					a.Errorf("%d of the instances are left, %+v", left, pool)
				}
				if err := s.Command(ctx, "work").Run(); err != nil {
					a.Error(err)
				}
				if err := next.Destroy(a.Context()); err != nil {
					a.Error(err)
				}
				if n := len(a.up()); n != c.left {
					a.Errorf("%d instances are left after Destroy", n)
				}
			})
		})
	}
	_, err := berth.NewEC2SharedProvider(t.Context(), berth.Config{
		Store: memstore.New(), EC2: berth.EC2Config{EndForeignAfter: time.Minute},
	})
	wantFields(t, err, "Config.EC2.EndForeignAfter")
}

package berth_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/ec2world"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// TestFault60MemoryIsLost: a process with two instances is killed, and its store is in its memory.
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
			ec2world.Run(t, func(a *ec2world.Account) {
				l := &tale{Account: a}
				l.prepare()
				a.Config.EC2.EndForeignAfter = c.after
				first, err := a.Begin("first", ec2world.KillPoint{})
				if err != nil {
					a.Fatal(err)
				}
				for _, task := range l.tasks {
					if _, err := first.CreateSession(a.Context(), world.Request(task.name, task.repo)); err != nil {
						a.Fatal(err)
					}
				}
				lost := a.Alive(2)
				time.Sleep(time.Minute)
				l.rest() // from now on there are instances without a record
				first.Kill()
				a.Config.Store = memstore.New()
				next, err := a.Begin("next", ec2world.KillPoint{})
				if err != nil {
					a.Fatal(err)
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(a.Context(), 2*time.Hour)
				defer cancel()
				s, err := next.CreateSession(ctx, world.Request("t1", world.RepoA))
				if err != nil {
					a.Fatalf("the task cannot begin anew: %v\n%s", err, a.Log)
				}
				if waited := time.Since(began); (waited > 10*time.Minute) != (c.after > 0) {
					a.Errorf("it waited for %v", waited)
				}
				time.Sleep(50 * time.Minute)
				left := 0
				for _, i := range lost {
					if a.Server.Instance(i.ID).State == ec2test.Running {
						left++
					}
				}
				pool := next.Stats().Pool
				if left != c.left || pool.Foreign != c.left || int(pool.ForeignEnded) != 2-c.left || !strings.Contains(a.Log.String(), c.says) {
					a.Errorf("%d of the instances are left, %+v", left, pool)
				}
				if err := s.Command(ctx, "work").Run(); err != nil {
					a.Error(err)
				}
				if err := next.Destroy(a.Context()); err != nil {
					a.Error(err)
				}
				if n := len(a.Costing()); n != c.left {
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

// TestEC2DestroyEndsItsOwn: the pool's store was restored from a backup without the record of an instance. Destroy ends
// the instance, and no call names an instance of another store.
func TestEC2DestroyEndsItsOwn(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Config.MinInstances, a.Config.EC2.Spot = 1, ec2cloud.SpotFirst
		other := a.Config
		other.Store = memstore.New()
		neighbour := a.NewProvider(other)
		time.Sleep(time.Minute)
		theirs := a.Alive(1)[0]
		if theirs.SpotRequestID == "" {
			a.Errorf("%+v has no spot request", theirs)
		}
		if err := neighbour.Close(); err != nil {
			a.Fatal(err)
		}
		from := len(a.Server.Requests(""))

		first := a.NewProvider(a.Config)
		time.Sleep(time.Minute)
		if err := first.Close(); err != nil {
			a.Fatal(err)
		}
		for _, i := range a.Alive(2) {
			if i.ID != theirs.ID {
				forget(a, i.Tags["berth:launch"])
			}
		}
		a.Config.MinInstances = 0
		p := a.NewProvider(a.Config)
		if err := p.Destroy(a.Context()); err != nil {
			a.Fatal(err)
		}
		if left := a.Alive(1)[0]; left.ID != theirs.ID || left.State != ec2test.Running {
			a.Errorf("%+v is left", left)
		}
		for _, q := range a.Server.Requests("")[from:] {
			for key, values := range q.Form {
				if slices.Contains(values, theirs.ID) || slices.Contains(values, theirs.SpotRequestID) {
					a.Errorf("%s names a resource of another store: %s=%s", q.Action, key, values)
				}
			}
		}
	})
}

// forget removes the record of an instance.
func forget(a *ec2world.Account, launch string) {
	a.Helper()
	err := a.Store.Update(a.Context(), nil, func(tx store.Tx) error {
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		record.Instances--
		if err := tx.Put(record); err != nil {
			return err
		}
		return tx.Delete(store.InstanceKey(launch))
	})
	if err != nil {
		a.Fatal(err)
	}
}

// TestEC2DestroyAfterALaunchOfUnknownOutcome: the answers of RunInstances are lost, with and without an effect, or the
// call fails with an effect. Destroy ends the instances that exist, and does not wait for five minutes.
func TestEC2DestroyAfterALaunchOfUnknownOutcome(t *testing.T) {
	for name, spoil := range map[string]func(a *ec2world.Account){
		"no effect": func(a *ec2world.Account) { a.Server.LoseRequests("ec2:RunInstances", 2) },
		"an effect": func(a *ec2world.Account) { a.Server.LoseAnswers("ec2:RunInstances", 2) },
		"a failure": func(a *ec2world.Account) { a.Server.Fail("ec2:RunInstances", 2, "InternalError") },
		"another token": func(a *ec2world.Account) {
			a.Server.LoseAnswers("ec2:RunInstances", 1)
			a.Server.Fail("ec2:RunInstances", 3, "IdempotentParameterMismatch")
		},
	} {
		t.Run(name, func(t *testing.T) {
			ec2world.RunWith(t, ec2test.Options{LaunchLag: 20 * time.Second}, func(a *ec2world.Account) {
				p := a.NewProvider(a.Config)
				spoil(a)
				ctx, cancel := context.WithTimeout(a.Context(), 2*time.Second)
				defer cancel()
				if _, err := p.CreateSession(ctx, world.Request("t1", world.RepoA)); err == nil {
					a.Fatal("CreateSession succeeded; want an error of the launch")
				}
				began := time.Now()
				if err := p.Destroy(a.Context()); err != nil {
					a.Fatal(err)
				}
				if took := time.Since(began); took > 2*time.Minute {
					a.Errorf("it took %v", took)
				}
				a.Alive(0)
				if n := len(a.Server.Instances()); n > 1 {
					a.Errorf("%d instances were launched", n)
				}
			})
		})
	}
}

// TestEC2StartsWithoutSSM: the pool's record names its image, so a new process needs no answer of SSM. Without a record
// the error says that AWS fails, and not that the settings are wrong.
func TestEC2StartsWithoutSSM(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Config.MinInstances = 1
		first := a.NewProvider(a.Config)
		time.Sleep(time.Minute)
		if err := first.Close(); err != nil {
			a.Fatal(err)
		}
		for _, later := range []time.Duration{0, 48 * time.Hour} { // the image is resolved anew each day
			time.Sleep(later)
			a.Server.Fail("ssm:GetParameter", 1000, "InternalServerError")
			p, err := berth.NewEC2SharedProvider(a.Context(), a.Config)
			if err != nil {
				a.Fatalf("after %v: %v", later, err)
			}
			if err := p.Close(); err != nil {
				a.Error(err)
			}
		}
		a.Config.Store = ec2world.NewSpyStore()
		_, err := berth.NewEC2SharedProvider(a.Context(), a.Config)
		e, ok := errors.AsType[*ec2cloud.PreflightError](err)
		if !ok || !e.Retryable() || strings.Contains(err.Error(), "correct") || !strings.Contains(err.Error(), "or name one in Config.EC2.ImageID") {
			a.Errorf("without an image: %v", err)
		}
	})
}

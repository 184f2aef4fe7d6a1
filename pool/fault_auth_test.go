package pool_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

// TestFault58CredentialsAreRefused lets the credentials expire while one instance serves and another boots.
func TestFault58CredentialsAreRefused(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, upTo(4), func(t *testing.T, r *rig) {
		m, id := r.busyPool()
		r.wait(10)
		m.Wake()
		time.Sleep(2 * time.Second)
		r.want("booting ready")
		r.wait(0)
		r.cloud.Refuse(errors.Join(errors.New("ExpiredToken"), pool.ErrAuth))
		before := calls(r.cloud)
		r.within(20*time.Second, "it is told", func() bool { return strings.Contains(m.Stats().Frozen, "ExpiredToken") })
		r.wait(30)
		m.Wake()
		time.Sleep(3 * time.Hour)
		r.want("booting ready")
		if s := m.Stats(); s.InstancesLost != 0 || s.LaunchFailures != 0 || s.Frozen == "" {
			t.Errorf("%+v", s)
		}
		if all := r.pool().Conditions; len(all) != 1 || !strings.Contains(all[0], "ExpiredToken") {
			t.Errorf("the record has the conditions %q", all)
		}
		if n := calls(r.cloud) - before; n > 400 {
			t.Errorf("it was called %d times", n)
		}
		if n := strings.Count(r.logs(), "level=ERROR msg=\"the cloud refuses the credentials"); n != 1 {
			t.Errorf("it was logged %d times: %s", n, r.log())
		}
		r.cloud.Heal()
		r.within(time.Minute, "it goes on", func() bool { return r.states() == "ready ready ready ready" && m.Stats().Frozen == "" })
		if all := r.pool().Conditions; len(all) != 0 {
			t.Errorf("afterwards the record has the conditions %q", all)
		}
		if in := r.by(id); in.Sessions != 3 || m.Stats().LaunchFailures != 0 {
			t.Errorf("%+v; %+v", in, m.Stats())
		}
	})
}

// TestFault58OneCallIsRefused takes one permission away.
func TestFault58OneCallIsRefused(t *testing.T) {
	for _, verb := range []fake.Verb{fake.Launch, fake.Prepare, fake.Terminate} {
		t.Run(string(verb), func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, upTo(3), func(t *testing.T, r *rig) {
				r.cloud.Next(verb, 1000, fake.Fault{Before: pool.ErrAuth})
				r.wait(30)
				m := r.start()
				time.Sleep(time.Minute)
				r.wait(0)
				time.Sleep(30 * time.Minute)
				if !strings.Contains(m.Stats().Frozen, "credentials") {
					t.Errorf("it is not told: %+v", m.Stats())
				}
				r.wait(30)
				time.Sleep(30 * time.Minute)
				if n := strings.Count(r.logs(), "level=ERROR msg=\"the cloud refuses the credentials"); n != 1 {
					t.Errorf("it was logged %d times: %s", n, r.log())
				}
				if n := r.cloud.Calls(verb); n == 0 || n > 80 {
					t.Errorf("it was called %d times", n)
				}
				r.cloud.Heal()
				r.within(7*time.Minute, "all serve", func() bool { return r.states() == "ready ready ready" })
				if m.Stats().Frozen != "" {
					t.Errorf("%+v", m.Stats())
				}
			})
		})
	}
}

// TestIdlePoolIsKeptWhileNothingCanBeEnded refuses the credentials: no instance is given up.
func TestIdlePoolIsKeptWhileNothingCanBeEnded(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, upTo(3), func(t *testing.T, r *rig) {
		r.wait(30)
		m := r.start()
		r.withinStates(time.Minute, "ready ready ready")
		r.cloud.Refuse(pool.ErrAuth)
		r.wait(0)
		time.Sleep(3 * time.Hour)
		r.want("ready ready ready")
		if m.Stats().Frozen == "" {
			t.Error("it is not told")
		}
		r.cloud.Heal()
		r.withinStates(2*time.Minute, "")
	})
}

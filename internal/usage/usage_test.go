package usage_test

import (
	"fmt"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// parts returns the bill by key.
func parts(t *testing.T, p *berth.Provider, q berth.UsageQuery) map[string]berth.Usage {
	t.Helper()
	all := make(map[string]berth.Usage)
	for u, err := range p.Usage(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		all[u.Key] = u
	}
	return all
}

// billed returns what the cloud bills for all machines, all of which have ended.
func billed(t *testing.T, c *fake.Cloud) (sum time.Duration) {
	t.Helper()
	for _, m := range c.Machines() {
		if m.Ended.IsZero() {
			t.Fatalf("machine %s runs", m.CloudID)
		}
		sum += m.Ended.Truncate(time.Microsecond).Sub(m.Launched.Truncate(time.Microsecond))
	}
	return sum
}

func TestTheBillIsWhatTheCloudBills(t *testing.T) {
	setup := world.Setup{
		Config: berth.Config{
			MaxTasksPerInstance: 2, InstanceIdleTimeout: 5 * time.Minute, SessionIdleTimeout: -1, UsageLabels: []string{"team"},
			PricePerHour: func(m pool.Machine) (float64, bool) { return 0.12, m.Type == "t3.large" },
		},
		Cloud: fake.CloudOptions{Linger: time.Hour},
	}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		blue := world.Request("t1", world.RepoA)
		blue.Labels = map[string]string{"team": "blue"}
		first := world.Create(t, w.Provider, blue)
		time.Sleep(50 * time.Minute)
		second := w.Create("t2", world.RepoA)
		time.Sleep(20 * time.Minute)
		w.Terminate(first)
		w.Terminate(second)
		time.Sleep(10 * time.Minute) // its instance goes, and the accounts catch up

		total := parts(t, w.Provider, berth.UsageQuery{})[""]
		if sum, want := total.Used+total.Warm+total.Idle, billed(t, w.Cloud); sum != want {
			t.Errorf("%v are accounted, the cloud bills %v", sum, want)
		}
		if about := 45 * time.Minute; total.Used < about-time.Minute || total.Used > about+time.Minute { // (70 + 20) / 2
			t.Errorf("used: %v", total.Used)
		}
		if total.Sessions < 90*time.Minute || total.Sessions > 91*time.Minute || total.Starts[berth.StartCold] != 1 || total.Starts[berth.StartAttached] != 1 {
			t.Errorf("sessions: %+v", total)
		}
		if total.Saved <= 0 || total.Saved > time.Minute {
			t.Errorf("the attached start saved %v", total.Saved)
		}
		if want := 0.12 * billed(t, w.Cloud).Hours(); math.Abs(total.USD-want) > 1e-6 || total.Unpriced != 0 {
			t.Errorf("%v USD, want %v; without a price: %v", total.USD, want, total.Unpriced)
		}
		for by, keys := range map[berth.UsageQuery][]string{
			{By: berth.UsageByRepository}:           {"", "github.com/acme/rocket"},
			{By: berth.UsageByUser}:                 {"", world.User},
			{By: berth.UsageByLabel, Label: "team"}: {"", "blue"},
			{By: berth.UsageByDay}:                  {"2000-01-01"},
		} {
			got := parts(t, w.Provider, by)
			var sum time.Duration
			for _, u := range got {
				sum += u.Used + u.Warm + u.Idle
			}
			if sum != total.Used+total.Idle || len(got) != len(keys) {
				t.Errorf("by %s: %v of %v", by.By, sum, got)
			}
			for _, key := range keys {
				if _, there := got[key]; !there {
					t.Errorf("by %s: there is no %q in %v", by.By, key, maps.Keys(got))
				}
			}
		}
		early := parts(t, w.Provider, berth.UsageQuery{To: time.Now().Truncate(time.Hour)})[""]
		late := parts(t, w.Provider, berth.UsageQuery{From: time.Now().Truncate(time.Hour)})[""]
		if early.Used == 0 || late.Used == 0 || early.Used+late.Used != total.Used || early.Idle+late.Idle != total.Idle {
			t.Errorf("%v early and %v late of %v", early.Used, late.Used, total.Used)
		}
		if through, err := w.UsageThrough(t.Context()); err != nil || !through.IsZero() {
			t.Errorf("no machine is left, and it is accounted until %v, %v", through, err)
		}
	})
}

// rowsOf adds up the rows in the store, which may be read after Close.
func rowsOf(t *testing.T, w *world.World) (sum time.Duration, starts int64) {
	t.Helper()
	for r, err := range store.UsageRows(t.Context(), w.Store, store.UsageQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(r.Used+r.Warm+r.Idle) * time.Microsecond
		starts += r.Attached + r.WarmStarts + r.Cold
	}
	return sum, starts
}

// TestDestroyCompletesTheBill: no process need open the pool again, or wait, for its last minute.
func TestDestroyCompletesTheBill(t *testing.T) {
	for _, lived := range []time.Duration{0, 20 * time.Second, 3*time.Hour + 10*time.Second} {
		t.Run(lived.String(), func(t *testing.T) {
			cfg := berth.Config{MinInstances: 2, MaxInstances: 3, InstanceIdleTimeout: -1, SessionIdleTimeout: -1}
			world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
				w.Create("t1", world.RepoA)
				w.Create("t2", world.RepoB)
				time.Sleep(lived)
				if err := w.Destroy(t.Context()); err != nil {
					t.Fatal(err)
				}
				if sum, starts := rowsOf(t, w); sum != billed(t, w.Cloud) || starts != 2 {
					t.Errorf("%v and %d starts are accounted; the cloud bills %v, and 2 sessions have started", sum, starts, billed(t, w.Cloud))
				}
			})
		})
	}
}

// TestDestroyByAnotherCompletesTheBill: the process that plans accounts, whichever destroys.
func TestDestroyByAnotherCompletesTheBill(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Create("t", world.RepoA)
		if err := w.NewProvider().Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if sum, starts := rowsOf(t, w); sum != billed(t, w.Cloud) || starts != 1 {
			t.Errorf("%v and %d starts are accounted; the cloud bills %v", sum, starts, billed(t, w.Cloud))
		}
	})
}

// TestCloseAccountsForAllButAMinute: other processes may be writing of the last one.
func TestCloseAccountsForAllButAMinute(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Create("t", world.RepoA)
		time.Sleep(10*time.Minute - 5*time.Second)
		w.Close()
		var due time.Duration
		for _, m := range w.Cloud.Machines() {
			due += time.Since(m.Launched) - time.Minute
		}
		if sum, _ := rowsOf(t, w); sum > due || sum < due-15*time.Second { // the last list is 10 s old
			t.Errorf("%v are accounted, of %v", sum, due)
		}
	})
}

// TestCloseDoesNotWaitForTheBill: the store does not answer.
func TestCloseDoesNotWaitForTheBill(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Close()
		p, reach := w.NewCutProvider()
		world.Create(t, p, world.Request("t", world.RepoA))
		time.Sleep(5 * time.Minute)
		reach.Cut.Store(true)
		begun := time.Now()
		p.Close()
		if took := time.Since(begun); took > 15*time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

// TestNothingIsLostWhileNobodyPlans: sessions and machines that ended while no process lived are accounted afterwards.
func TestNothingIsLostWhileNobodyPlans(t *testing.T) {
	cfg := berth.Config{MaxTasksPerInstance: 1, SessionRetention: time.Second, InstanceIdleTimeout: time.Minute}
	world.Run(t, world.Setup{Config: cfg, Cloud: fake.CloudOptions{Linger: 12 * time.Hour}}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		time.Sleep(10 * time.Minute)
		w.Terminate(s)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var launch string
		for _, m := range w.Cloud.Machines() {
			launch = m.LaunchID
		}
		time.Sleep(3 * time.Hour)
		w.Cloud.Interrupt(launch)
		time.Sleep(5 * time.Hour)
		p := w.NewProvider()
		time.Sleep(20 * time.Minute)
		total := parts(t, p, berth.UsageQuery{})[""]
		if sum, want := total.Used+total.Idle, billed(t, w.Cloud); sum != want {
			t.Errorf("%v are accounted, the cloud bills %v", sum, want)
		}
		if total.Used < 10*time.Minute || total.Used > 11*time.Minute {
			t.Errorf("the session used %v", total.Used)
		}
		if used := parts(t, p, berth.UsageQuery{By: berth.UsageByUser})[world.User]; used.Used != total.Used {
			t.Errorf("the user's share is %v of %v", used.Used, total.Used)
		}
	})
}

func TestRowsAreKeptForTheRetention(t *testing.T) {
	cfg := berth.Config{MinInstances: 1, UsageRetention: 3 * time.Hour, InstanceIdleTimeout: -1}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		var keys []store.Key
		var old []*store.Usage
		for i := range 1200 { // more than one transaction removes
			r := &store.Usage{ID: store.UsageID(time.Now().Add(-time.Duration(i%6+1)*time.Hour), fmt.Sprint(i)), Idle: 1}
			old, keys = append(old, r), append(keys, r.Key())
		}
		if err := w.Store.Update(t.Context(), keys, func(tx store.Tx) error {
			for _, r := range old {
				if err := tx.Put(r); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		hours := make(map[int]int)
		for r, err := range store.UsageRows(t.Context(), w.Store, store.UsageQuery{}) {
			if err != nil {
				t.Fatal(err)
			}
			hours[r.Hour().Hour()]++
		}
		if want := map[int]int{0: 1, 23: 200, 22: 200, 21: 200}; !maps.Equal(hours, want) {
			t.Errorf("after five minutes there are rows of %v, want %v", hours, want)
		}
		through, err := w.UsageThrough(t.Context())
		if behind := time.Since(through); err != nil || behind < time.Minute || behind > 3*time.Minute {
			t.Errorf("the bill is %v behind, %v", behind, err)
		}
	})
}

func TestUsageRefusesWhatItDoesNotKnow(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		for _, q := range []berth.UsageQuery{{By: "moon"}, {By: berth.UsageByLabel, Label: "team"}} {
			for u, err := range w.Usage(t.Context(), q) {
				if err == nil {
					t.Errorf("%+v gave %+v", q, u)
				}
			}
		}
	})
}

package sim

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/demand"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// sweBench has the repositories of SWE-bench, with how many of its 2294 tasks are on each.
var sweBench = []struct {
	name  string
	tasks int
}{
	{"django/django", 850}, {"sympy/sympy", 386}, {"scikit-learn/scikit-learn", 229}, {"sphinx-doc/sphinx", 187},
	{"matplotlib/matplotlib", 184}, {"pytest-dev/pytest", 119}, {"pydata/xarray", 110}, {"astropy/astropy", 95},
	{"pylint-dev/pylint", 57}, {"psf/requests", 44}, {"mwaskom/seaborn", 22}, {"pallets/flask", 11},
}

// officeHours is how many sessions begin in each hour of a day, as a share of the busiest one.
var officeHours = [24]float64{
	.02, .01, .01, .01, .02, .05, .15, .4, .8, 1, 1, .9, .7, .9, 1, 1, .9, .7, .4, .25, .15, .1, .05, .03,
}

const (
	officeBusiest   = 120 // sessions that begin in the busiest hour
	officeLifetime  = 20 * time.Minute
	officeSlots     = 10 // of an instance
	officeInstances = 6
)

// arrival is a session of an office day.
type arrival struct {
	repo     string
	at       time.Duration // since midnight
	lifetime time.Duration
}

// arrivals draws a day.
func arrivals(seed uint64) (all []arrival) {
	random := rand.New(rand.NewPCG(seed, 0))
	for minute := range 24 * 60 {
		perMinute := officeBusiest / 60. * officeHours[minute/60]
		for n := random.ExpFloat64(); n < perMinute; n += random.ExpFloat64() {
			all = append(all, arrival{
				repo: "https://github.com/" + drawn(random), at: time.Duration(minute)*time.Minute + time.Duration(random.Int64N(int64(time.Minute))),
				lifetime: time.Duration(random.ExpFloat64() * float64(officeLifetime)),
			})
		}
	}
	return all
}

// drawn draws a repository.
func drawn(random *rand.Rand) string {
	n := random.IntN(2294)
	for _, r := range sweBench {
		if n -= r.tasks; n < 0 {
			return r.name
		}
	}
	panic("the shares do not add up")
}

// office is what became of an office day.
type office struct {
	starts      map[berth.StartKind]int
	paid, least float64 // instance-hours
}

func (o office) attached() float64 {
	return float64(o.starts[berth.StartAttached]) / float64(o.starts[berth.StartAttached]+o.starts[berth.StartWarm]+o.starts[berth.StartCold])
}

func (o office) String() string {
	return fmt.Sprintf("%.1f %% attached (%v), %.1f instance-hours, %.2f times the least (%.1f)", 100*o.attached(), o.starts, o.paid, o.paid/o.least, o.least)
}

// yesterday stores what the pool has learned on the days before.
func yesterday(t *testing.T, st store.Store, pool string) {
	known := &store.Demand{}
	for day := range 3 {
		for _, a := range arrivals(uint64(100 + day)) {
			r, err := naming.ParseRepository(a.repo)
			if err != nil {
				t.Fatal(err)
			}
			key := naming.Key{Repository: r}
			from, _ := officeTime()
			at := time.Now().Add(time.Duration(day-3)*24*time.Hour + a.at - from)
			demand.Add(known, []demand.Start{{
				Name: key.ContainerName(pool), Key: key, Remote: a.repo, At: at, Kind: store.StartAttached, Took: 100 * time.Millisecond,
			}})
		}
	}
	for i := range known.Keys {
		known.Keys[i].Alone = 10 * time.Second
	}
	if err := st.Update(t.Context(), nil, func(tx store.Tx) error { return tx.Put(known) }); err != nil {
		t.Fatal(err)
	}
}

// officeTime returns the part of the day that is simulated: the whole of it takes long.
func officeTime() (from, to time.Duration) {
	if testenv.Soak() {
		return 0, 24 * time.Hour
	}
	return 7 * time.Hour, 13 * time.Hour
}

// officeDay lets a day go by. At every moment, the least is as many instances as would hold the sessions if these could be moved.
func officeDay(t *testing.T, warm berth.Warm) (o office) {
	synctest.Test(t, func(t *testing.T) {
		cloud := fake.NewCloud(fake.CloudOptions{Boot: 30 * time.Second})
		engine := fake.NewEngine(fake.EngineOptions{Cloud: cloud, Latency: fake.Latency{Clone: 10 * time.Second}})
		st := memstore.New()
		cfg := berth.Config{
			Name: "office", Cloud: cloud, Engine: engine, Store: st, Warm: warm,
			MaxInstances: officeInstances, MaxTasksPerInstance: officeSlots, MaxContainersPerRepository: officeInstances, SessionIdleTimeout: -1,
			InstanceIdleTimeout: 2 * time.Minute,
		}
		if warm.Containers > 0 {
			yesterday(t, st, cfg.Name)
		}
		p, err := berth.New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer engine.Close()
		defer p.Close()
		o = office{starts: make(map[berth.StartKind]int)}
		var mu sync.Mutex // protects active and o.starts
		active := 0
		from, to := officeTime()
		begin := time.Now()
		var sessions sync.WaitGroup
		for i, a := range arrivals(1) {
			if a.at < from || a.at >= to {
				continue
			}
			sessions.Go(func() {
				time.Sleep(a.at - from)
				s, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: fmt.Sprint("t", i), UserID: fmt.Sprint("u", i%40), Repository: a.repo})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				active++
				o.starts[s.Info().Start]++
				mu.Unlock()
				time.Sleep(a.lifetime)
				if err := p.TerminateSession(t.Context(), s.ID()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				active--
				mu.Unlock()
			})
		}
		const step = 10 * time.Second
		for time.Since(begin) < to-from {
			time.Sleep(step)
			mu.Lock()
			o.least += step.Hours() * float64((active+officeSlots-1)/officeSlots)
			mu.Unlock()
			o.paid += step.Hours() * float64(cloud.Alive())
		}
		sessions.Wait()
	})
	return o
}

// TestOfficeDay compares an office day with the repositories of SWE-bench with and without a budget of a tenth of the slots.
func TestOfficeDay(t *testing.T) {
	with, without := officeDay(t, berth.Warm{Containers: officeInstances * officeSlots / 10}), officeDay(t, berth.Warm{})
	t.Logf("with a warm budget of 10 %% of the slots: %v", with)
	t.Logf("without: %v", without)
	if with.attached() < .9 {
		t.Errorf("%.1f %% of the starts were attached", 100*with.attached())
	}
	// What machines cost beyond the least is the pool's business: TestCostOfADay of package pool has it. It differs between runs, too.
	if with.paid > without.paid*1.1 || with.paid > with.least*1.5 {
		t.Errorf("%.1f instance-hours with warm containers, %.1f without, %.1f at least", with.paid, without.paid, with.least)
	}
}

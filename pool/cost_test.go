package pool_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// officeHours is how many sessions begin in each hour of a day, as a share of the busiest one.
var officeHours = [24]float64{
	.02, .01, .01, .01, .02, .05, .15, .4, .8, 1, 1, .9, .7, .9, 1, 1, .9, .7, .4, .25, .15, .1, .05, .03,
}

// office is a day's load: sessions that last 20 minutes in the middle, on 40 repositories of which few are popular. As
// in use, all sessions of a repository share one instance as long as one of them lasts.
type office struct {
	*rig
	random *rand.Rand
	at     map[int]string // where the sessions of a repository are
	on     map[int]int    // how many there are
	queue  []task
	active []task
	waited time.Duration // of all sessions
	begun  int
}

type task struct {
	repository int
	since, end time.Time
	instance   string
	uid        int
}

// arrive adds the sessions of a minute to those that wait.
func (o *office) arrive(busiest float64) {
	now := time.Now()
	perMinute := busiest / 60 * officeHours[now.Hour()]
	for n := o.random.ExpFloat64(); n < perMinute; n += o.random.ExpFloat64() {
		o.queue = append(o.queue, task{repository: int(40 * math.Pow(o.random.Float64(), 1.2)), since: now})
	}
}

// turn ends the sessions that are over and places those that it can. The sessions that wait for another instance are demand.
func (o *office) turn() {
	now := time.Now()
	var active, queue []task
	for _, s := range o.active {
		if now.Before(s.end) {
			active = append(active, s)
			continue
		}
		o.release(s.instance, s.uid)
		if o.on[s.repository]--; o.on[s.repository] == 0 {
			delete(o.at, s.repository)
		}
	}
	o.active = active
	demand := 0
	for _, s := range o.queue {
		if !o.begin(&s) {
			if queue = append(queue, s); o.at[s.repository] == "" {
				demand++
			}
		}
	}
	o.queue = queue
	o.wait(demand)
}

func (o *office) begin(s *task) bool {
	if at := o.at[s.repository]; at != "" {
		err := o.store.Store.Update(o.t.Context(), nil, func(tx store.Tx) (err error) {
			s.uid, err = pool.Place(tx, at)
			return err
		})
		if err != nil {
			return false
		}
		s.instance = at
	} else if s.instance, s.uid = o.placeOne(); s.instance == "" {
		return false
	}
	s.end = time.Now().Add(time.Duration(o.random.ExpFloat64() * float64(20*time.Minute)))
	o.at[s.repository] = s.instance
	o.on[s.repository]++
	o.active = append(o.active, *s)
	o.waited += time.Since(s.since)
	o.begun++
	return true
}

// TestCostOfADay compares the cost of a day with the lowest possible one: at every moment, as many instances as would hold the
// sessions of that moment if sessions could be moved.
func TestCostOfADay(t *testing.T) { scenario(day).check(t) }

func day(t *testing.T) (figures []figure) {
	inBubble(t, fake.CloudOptions{Boot: 30 * time.Second}, upTo(60), func(t *testing.T, r *rig) {
		o := &office{rig: r, random: rand.New(rand.NewPCG(1, 2)), at: map[int]string{}, on: map[int]int{}}
		m := r.start()
		var least, paid float64 // instance-seconds
		const step = 5
		for second := 0; second < 24*3600; second += step {
			if second%60 == 0 {
				o.arrive(300)
			}
			o.turn()
			if len(o.queue) > 0 {
				m.Wake()
			}
			least += step * float64((len(o.active)+slots-1)/slots)
			paid += step * float64(r.cloud.Alive())
			time.Sleep(step * time.Second)
		}
		t.Logf("%d sessions on 40 repositories: %.1f instance-hours, %.2f times the least (%.1f), %d launches, each session waited %v",
			o.begun, paid/3600, paid/least, least/3600, r.cloud.Launches(), (o.waited / time.Duration(o.begun)).Round(100*time.Millisecond))
		figures = []figure{{paid / least, "x_least", 1.25}, {paid / 3600, "instance-h/day", math.Inf(1)}}
	})
	return figures
}

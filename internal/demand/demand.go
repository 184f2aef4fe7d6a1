// Package demand forecasts for which repositories sessions will come, by those that came: at which hours of the day, on the last
// days. It consists of functions without state: the record store.Demand is all that it knows.
package demand

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

const (
	// HalfLife is the age at which a start counts half.
	HalfLife = 3 * 24 * time.Hour
	// MaxKeys bounds the sharing keys that are remembered, and so the size of the record. Those with the fewest starts are forgotten.
	MaxKeys = 500

	longestAhead = 7 * 24 * time.Hour

	one       = 1000 // what a start counts that happens at Demand.Since
	forgotten = one / 20
	hours     = 24
)

// Start is the start of a session.
type Start struct {
	Name   string // of the container
	Key    naming.Key
	Remote string    // holds no credential
	At     time.Time // when the session became active
	Kind   store.StartKind
	Took   time.Duration // without the time in the queue
}

// Add adds starts to what is known. Starts in private containers are left out: no other session could join these.
//
// Counts are those of Demand.Since: later starts count more, so that nothing has to be changed while time goes by. When they count
// twice as much, all counts are halved, and Since moves on.
func Add(d *store.Demand, starts []Start) {
	for _, s := range starts {
		if s.Key.Private() {
			continue
		}
		// After a clock that was far ahead, starts would count next to nothing until its time has come.
		if d.Since.IsZero() || d.Since.Sub(s.At) > longestAhead {
			*d = store.Demand{Since: s.At}
		}
		age(d, s.At)
		i, known := slices.BinarySearchFunc(d.Keys, s.Name, func(k store.KeyDemand, name string) int { return strings.Compare(k.Name, name) })
		if !known {
			d.Keys = slices.Insert(d.Keys, i, store.KeyDemand{Name: s.Name, SharingKey: s.Key, Hours: make([]int64, hours)})
		}
		add(&d.Keys[i], s, one*math.Exp2(float64(s.At.Sub(d.Since))/float64(HalfLife)))
	}
	for len(d.Keys) > MaxKeys {
		least := slices.MinFunc(d.Keys, func(a, b store.KeyDemand) int {
			return cmp.Or(cmp.Compare(sum(a), sum(b)), strings.Compare(a.Name, b.Name))
		})
		d.Keys = slices.DeleteFunc(d.Keys, func(k store.KeyDemand) bool { return k.Name == least.Name })
	}
}

// age moves Since on by whole half-lives.
func age(d *store.Demand, now time.Time) {
	n := now.Sub(d.Since) / HalfLife
	if n <= 0 {
		return
	}
	d.Since = d.Since.Add(n * HalfLife)
	for i := range d.Keys {
		for h := range d.Keys[i].Hours {
			d.Keys[i].Hours[h] >>= min(n, 62)
		}
	}
	d.Keys = slices.DeleteFunc(d.Keys, func(k store.KeyDemand) bool { return sum(k) < forgotten })
}

func add(k *store.KeyDemand, s Start, counts float64) {
	if len(k.Hours) != hours { // another version may keep something else there
		k.Hours = make([]int64, hours)
	}
	k.Remote = s.Remote
	k.Hours[s.At.UTC().Hour()] += int64(math.Round(counts))
	average := &k.Alone
	if s.Kind == store.StartAttached {
		average = &k.Attached
	}
	if *average == 0 {
		*average = s.Took
	}
	*average += (s.Took - *average) / 4
}

func sum(k store.KeyDemand) (n int64) {
	for _, h := range k.Hours {
		n += h
	}
	return n
}

// Wanted is a sharing key that is worth a container which is kept up.
type Wanted struct {
	store.KeyDemand
	Worth float64 // the seconds of waiting that a container saves if it is kept up for the next hour without sessions
}

// Rank returns the keys by what a container is worth, the best first. Every container takes the same room: that of a slot.
func Rank(d *store.Demand, now time.Time) []Wanted {
	var all []Wanted
	for _, k := range d.Keys {
		if starts := Expected(k, d.Since, now); starts >= least {
			all = append(all, Wanted{k, starts * saved(k).Seconds()})
		}
	}
	slices.SortFunc(all, func(a, b Wanted) int {
		return cmp.Or(cmp.Compare(b.Worth, a.Worth), strings.Compare(a.Name, b.Name))
	})
	return all
}

// least is how many starts in an hour are worth a container: about one in three weeks.
const least = 0.002

// saved is what a session does not wait if the container is up.
func saved(k store.KeyDemand) time.Duration {
	alone := k.Alone
	if alone == 0 { // the container was up for each session so far
		alone = k.Attached + time.Second
	}
	return max(alone-k.Attached, time.Millisecond)
}

// Expected returns how many sessions will start within an hour, if the days to come are like those before since and now. Half of the
// forecast goes by the same hour of the day, a quarter by the hours around it, and a quarter by the whole day: nobody comes at
// the same minute every day, and of a new repository few hours are known.
func Expected(k store.KeyDemand, since, now time.Time) float64 {
	if len(k.Hours) != hours {
		return 0
	}
	at := now.UTC()
	in := func(hour int) float64 { return float64(k.Hours[(hour+hours)%hours]) }
	h, part := at.Hour(), float64(at.Minute())/60
	coming := (1-part)*in(h) + part*in(h+1)
	around := (in(h-1) + in(h) + in(h+1) + in(h+2)) / 4
	perDay := coming/2 + around/4 + float64(sum(k))/hours/4
	// Of one start each day at the hour to come, the last one was a day ago, the one before it two days, and so on.
	day := math.Exp2(-24 / HalfLife.Hours())
	all := day / (1 - day)
	return perDay / one / all * math.Exp2(-float64(now.Sub(since))/float64(HalfLife))
}

package demand_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/demand"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

var monday = time.Date(2030, 1, 7, 0, 0, 0, 0, time.UTC)

// start is a start on a repository.
func start(name string, at time.Time, kind store.StartKind, took time.Duration) demand.Start {
	return demand.Start{
		Name: name, Key: naming.Key{Repository: naming.Repository{Host: "git.example", Path: "acme/" + name}},
		Remote: "https://git.example/acme/" + name, At: at, Kind: kind, Took: took,
	}
}

// days adds starts at an hour of each of some days.
func days(d *store.Demand, name string, n, hour int, alone time.Duration) {
	for day := range n {
		at := monday.Add(time.Duration(24*day+hour) * time.Hour)
		demand.Add(d, []demand.Start{start(name, at, store.StartCold, alone), start(name, at.Add(time.Minute), store.StartAttached, time.Second)})
	}
}

// names are the names of what is wanted at a time.
func names(d *store.Demand, at time.Time) (all []string) {
	for _, w := range demand.Rank(d, at) {
		all = append(all, w.Name)
	}
	return all
}

func TestTheHourOfTheDayDecides(t *testing.T) {
	d := &store.Demand{}
	days(d, "morning", 7, 9, 31*time.Second)
	days(d, "evening", 7, 20, 31*time.Second)
	week := monday.AddDate(0, 0, 7)
	for hour, want := range map[int]string{8: "morning", 9: "morning", 19: "evening", 20: "evening"} {
		if got := names(d, week.Add(time.Duration(hour)*time.Hour+30*time.Minute)); len(got) == 0 || got[0] != want {
			t.Errorf("at %d: %q", hour, got)
		}
	}
}

func TestExpected(t *testing.T) {
	d := &store.Demand{}
	for day := range 30 { // 10 starts in each hour
		for i := range 240 {
			demand.Add(d, []demand.Start{start("a", monday.AddDate(0, 0, day).Add(time.Duration(i)*6*time.Minute), store.StartAttached, time.Second)})
		}
	}
	now := monday.AddDate(0, 0, 30)
	if got := demand.Expected(d.Keys[0], d.Since, now); math.Abs(got-10) > 1.5 {
		t.Errorf("%v starts are expected in an hour that had 10 on each day", got)
	}
	if got, later := demand.Expected(d.Keys[0], d.Since, now), demand.Expected(d.Keys[0], d.Since, now.Add(demand.HalfLife)); math.Abs(later/got-.5) > .01 {
		t.Errorf("%v after a half-life, of %v", later, got)
	}
}

// TestWorth: of two repositories that are wanted as often, the one that is slower to start goes first.
func TestWorth(t *testing.T) {
	d := &store.Demand{}
	days(d, "slow", 3, 9, 61*time.Second)
	days(d, "fast", 3, 9, 3*time.Second)
	days(d, "popular", 3, 9, 3*time.Second)
	days(d, "popular", 3, 9, 3*time.Second)
	at := monday.AddDate(0, 0, 3).Add(9 * time.Hour)
	if got := fmt.Sprint(names(d, at)); got != "[slow popular fast]" {
		t.Error(got)
	}
	ranked := demand.Rank(d, at)
	if k := ranked[0]; k.Alone != 61*time.Second || k.Attached != time.Second || k.Remote != "https://git.example/acme/slow" {
		t.Errorf("%+v", k)
	}
	if got := ranked[0].Worth / ranked[2].Worth; math.Abs(got-30) > .1 { // it saves 60 s, and the other one 2 s
		t.Errorf("it is worth %v times as much", got)
	}
}

func TestWhatIsOldIsForgotten(t *testing.T) {
	d := &store.Demand{}
	days(d, "old", 2, 9, time.Minute)
	later := monday.AddDate(0, 0, 40)
	demand.Add(d, []demand.Start{start("new", later, store.StartCold, time.Minute)})
	if got := fmt.Sprint(names(d, later)); got != "[new]" || len(d.Keys) != 1 {
		t.Errorf("%s, %+v", got, d.Keys)
	}
}

// TestOrderDoesNotMatter: replicas account in any order, and a step may be repeated from the same record.
func TestOrderDoesNotMatter(t *testing.T) {
	one, other := &store.Demand{}, &store.Demand{}
	a, b := start("a", monday, store.StartCold, time.Minute), start("b", monday.Add(time.Hour), store.StartCold, time.Minute)
	demand.Add(one, []demand.Start{a, b})
	demand.Add(other, []demand.Start{b, a})
	at := monday.Add(2 * time.Hour)
	for i, w := range demand.Rank(one, at) {
		v := demand.Rank(other, at)[i]
		if w.Name != v.Name || math.Abs(w.Worth/v.Worth-1) > .01 {
			t.Errorf("%+v, %+v", w, v)
		}
	}
}

// TestClocksThatAreSet: neither a clock that is far ahead for a while nor one that is set back makes the pool forget for long.
func TestClocksThatAreSet(t *testing.T) {
	d := &store.Demand{}
	demand.Add(d, []demand.Start{start("a", monday.AddDate(10, 0, 0), store.StartCold, time.Minute)})
	demand.Add(d, []demand.Start{start("b", monday, store.StartCold, time.Minute)})
	demand.Add(d, []demand.Start{start("b", monday.Add(-5*time.Minute), store.StartCold, time.Minute)})
	if got := fmt.Sprint(names(d, monday)); got != "[b]" || d.Keys[0].Hours[0]+d.Keys[0].Hours[23] < 1990 {
		t.Errorf("%s, %+v", got, d.Keys)
	}
}

func TestKeysAreBounded(t *testing.T) {
	d := &store.Demand{}
	for i := range demand.MaxKeys + 10 {
		name := fmt.Sprintf("r%03d", i)
		demand.Add(d, []demand.Start{start(name, monday, store.StartCold, time.Minute), start(name, monday, store.StartCold, time.Minute)})
	}
	demand.Add(d, []demand.Start{start("zzz", monday, store.StartCold, time.Minute)})
	if got := d.Keys[len(d.Keys)-1].Name; len(d.Keys) != demand.MaxKeys || got == "zzz" {
		t.Errorf("%d keys, the last is %s", len(d.Keys), got)
	}
}

func TestPrivateContainersAreNotLearned(t *testing.T) {
	s := start("a", monday, store.StartCold, time.Minute)
	task := "t"
	s.Key.Scope = naming.Scope{Task: &task}.String()
	d := &store.Demand{}
	demand.Add(d, []demand.Start{s})
	if len(d.Keys) != 0 {
		t.Errorf("%+v", d.Keys)
	}
}

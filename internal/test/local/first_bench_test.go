package local_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/paired"
	"github.com/berth-go/berth/internal/test/testenv"
)

// BenchmarkFirstTask compares the first task of a repository with "docker run" and one clone by hand. Wanted: a ratio of at most 0.95.
func BenchmarkFirstTask(b *testing.B) {
	image := testenv.Image(b)
	y := &yard{b: b, image: image, Pool: local.New(b, berth.Config{Image: image})}
	url := y.Git.Create("org/small", gittest.Small()).URL()
	y.again(url) // what is made once per instance
	ours := func() time.Duration {
		s, took := y.create(url)
		if s.Info().Start != berth.StartCold {
			b.Fatalf("it started %s", s.Info().Start)
		}
		y.end(s)
		y.forget(s.Info().Container.Name)
		return took
	}
	hand := func() time.Duration {
		id, took := y.hand()
		took += y.exec(id, "git", "clone", "--quiet", url, "/work")
		y.removeHand(id)
		return took
	}
	var times paired.Times
	for b.Loop() {
		times.Run(4, ours, hand)
	}
	times.Report(b, "berth", "hand")
}

// BenchmarkKeptWarm compares the first task on a repository that is kept warm with a task that joins a container which another task
// holds. Wanted: a ratio of 1.
func BenchmarkKeptWarm(b *testing.B) {
	image := testenv.Image(b)
	y := &yard{b: b, image: image, Pool: local.New(b, berth.Config{Image: image, Warm: berth.Warm{Containers: 1}})}
	url := y.Git.Create("org/small", gittest.Small()).URL()
	if err := y.Warm(b.Context(), url, "", time.Now().Add(time.Hour)); err != nil {
		b.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); y.Stats().Containers.Starts == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("the container is not up")
		}
	}
	var first, joins time.Duration
	for b.Loop() {
		s, took := y.create(url)
		first += took
		if s.Info().Start != berth.StartAttached {
			b.Fatalf("it started %s", s.Info().Start)
		}
		joined, took := y.create(url)
		joins += took
		y.end(joined)
		y.end(s)
	}
	report(b, first, joins, "joins")
}

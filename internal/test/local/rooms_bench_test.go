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

// The benchmarks in this file compare two pools on one engine: one whose sessions have rooms, and one that was refused the warden.

// twin is the two pools, each with a running container of the same repository.
type twin struct {
	rooms, none       *yard
	roomsURL, noneURL string
}

func newTwin(b *testing.B, history gittest.History) *twin {
	b.Helper()
	image := testenv.Image(b)
	cfg := berth.Config{Image: image, MaxTasksPerInstance: 20}
	tw := &twin{rooms: &yard{b: b, image: image, Pool: local.New(b, cfg)}}
	tw.roomsURL = tw.rooms.Git.Create("org/repo", history).URL()
	holder, _ := tw.rooms.create(tw.roomsURL)
	if got := holder.Info().Instance.Isolation; got != berth.IsolationRooms {
		testenv.Missing(b, "needs an engine with rooms: %s", holder.Info().Instance.IsolationReason)
	}
	tw.none = &yard{b: b, image: image, Pool: local.NewRoomless(b, tw.rooms.Pool, cfg)}
	tw.noneURL = tw.none.Git.Create("org/repo", history).URL()
	other, _ := tw.none.create(tw.noneURL)
	if got := other.Info().Instance.Isolation; got != berth.IsolationUID {
		b.Fatalf("the isolation without a warden is %q", got)
	}
	return tw
}

// compare measures pairs until the benchmark is to end.
func compare(b *testing.B, pairs int, rooms, none func() time.Duration) {
	b.Helper()
	rooms()
	none()
	var times paired.Times
	for b.Loop() {
		times.Run(pairs, rooms, none)
	}
	times.Report(b, "rooms", "none")
}

// BenchmarkRoomAttach compares a task that joins a running container. Wanted: a ratio of at most 1.1, or at most 3 ms more.
func BenchmarkRoomAttach(b *testing.B) {
	tw := newTwin(b, gittest.Small())
	attach := func(y *yard, url string) func() time.Duration {
		return func() time.Duration {
			s, took := y.create(url)
			y.end(s)
			return took
		}
	}
	compare(b, 20, attach(tw.rooms, tw.roomsURL), attach(tw.none, tw.noneURL))
}

// BenchmarkRoomCommand compares the start and the end of a command. Wanted: a ratio of at most 1.05.
func BenchmarkRoomCommand(b *testing.B) {
	tw := newTwin(b, gittest.Small())
	run := func(y *yard, url string) func() time.Duration {
		s, _ := y.create(url)
		return func() time.Duration {
			begin := time.Now()
			if err := s.Command(b.Context(), "true").Run(); err != nil {
				b.Fatal(err)
			}
			return time.Since(begin)
		}
	}
	compare(b, 100, run(tw.rooms, tw.roomsURL), run(tw.none, tw.noneURL))
}

// BenchmarkRoomTerminate compares the end of a session with 1,000 processes.
func BenchmarkRoomTerminate(b *testing.B) {
	tw := newTwin(b, gittest.Small())
	const crowd = `for i in $(seq 1000); do sleep 1000 & done; echo; exec sleep 1000`
	end := func(y *yard, url string) func() time.Duration {
		return func() time.Duration {
			s, _ := y.create(url)
			c := s.Command(b.Context(), "sh", "-c", crowd)
			out, err := c.StdoutPipe()
			if err == nil {
				err = c.Start()
			}
			if err != nil {
				b.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil { // all are there
				b.Fatal(err)
			}
			begin := time.Now()
			y.end(s)
			took := time.Since(begin)
			c.Wait() // fails: it was killed
			return took
		}
	}
	compare(b, 5, end(tw.rooms, tw.roomsURL), end(tw.none, tw.noneURL))
}

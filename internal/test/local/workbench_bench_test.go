package local_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
)

// bench opens a session, and a container by hand beside it.
func bench(b *testing.B) (y *yard, s *berth.Session, hand string) {
	y = newYard(b)
	s, _ = y.create(y.Git.Create("org/repo", gittest.Small()).URL())
	hand, _ = y.hand()
	b.Cleanup(func() {
		y.removeHand(hand)
		y.end(s)
	})
	return y, s, hand
}

// all runs do so many times at once, and returns how long that took.
func all(n int, do func()) time.Duration {
	begun := time.Now()
	var running sync.WaitGroup
	for range n {
		running.Go(do)
	}
	running.Wait()
	return time.Since(begun)
}

// BenchmarkCommands compares a command that does nothing, alone and 16 at once, with "docker exec" through the API's client. Wanted: at
// most 4 ms alone, and a ratio of at most 1 at once.
func BenchmarkCommands(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			y, s, hand := bench(b)
			run := func() {
				if err := s.Command(context.Background(), "true").Run(); err != nil {
					b.Error(err)
				}
			}
			run()
			var ours, theirs time.Duration
			for b.Loop() {
				theirs += all(n, func() { y.exec(hand, "true") })
				ours += all(n, run)
			}
			report(b, ours, theirs, "exec")
		})
	}
}

// BenchmarkRunningCommand measures the memory of this process for a command that runs and writes nothing. Wanted: less than 64 KB.
func BenchmarkRunningCommand(b *testing.B) {
	_, s, _ := bench(b)
	const commands = 200
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	var bytes float64
	for b.Loop() {
		ctx, cancel := context.WithCancel(context.Background())
		before := held()
		var running []*berth.Cmd
		for range commands {
			c := s.Command(ctx, "sleep", "1000")
			c.Stdout = io.Discard
			if err := c.Start(); err != nil {
				b.Fatal(err)
			}
			running = append(running, c)
		}
		bytes += (float64(held()) - float64(before)) / commands
		cancel()
		for _, c := range running {
			_ = c.Wait() // it was killed
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(bytes/float64(b.N)/1e3, "KB/command")
}

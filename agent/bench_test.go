package agent_test

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/berth-go/berth/agent"
)

// run runs a command in session "s", from Start to Wait. It may be called from any goroutine.
func run(b *testing.B, r *ready, cmd agent.Command) {
	cmd.Session = "s"
	p, err := r.Start(b.Context(), cmd)
	if err == nil {
		_, err = p.Wait()
	}
	if err != nil {
		b.Error(err)
	}
}

// A command that does nothing.
func BenchmarkTrue(b *testing.B) {
	r := start(b)
	r.session(b, "s", 10001)
	for b.Loop() {
		run(b, r, agent.Command{Args: []string{"true"}})
	}
}

// discard is io.Discard without its ReadFrom.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkOutput(b *testing.B) {
	r := start(b)
	r.session(b, "s", 10001)
	const size = 256 << 20
	b.SetBytes(size)
	for b.Loop() {
		run(b, r, agent.Command{Args: []string{"head", "-c", fmt.Sprint(size), "/dev/zero"}, Stdout: discard{}})
	}
}

// Many streams share one connection and the machine.
func BenchmarkOutputOfMany(b *testing.B) {
	r := start(b)
	r.session(b, "s", 10001)
	const size, streams = 32 << 20, 16
	b.SetBytes(size * streams)
	for b.Loop() {
		var all sync.WaitGroup
		for range streams {
			all.Go(func() {
				run(b, r, agent.Command{Args: []string{"head", "-c", fmt.Sprint(size), "/dev/zero"}, Stdout: discard{}})
			})
		}
		all.Wait()
	}
}

func BenchmarkInput(b *testing.B) {
	r := start(b)
	r.session(b, "s", 10001)
	const size = 256 << 20
	b.SetBytes(size)
	for b.Loop() {
		run(b, r, agent.Command{Args: []string{"sh", "-c", "cat >/dev/null"}, Stdin: io.LimitReader(zeros{}, size)})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// Open and CloseSession of a small repository.
func BenchmarkOpenClose(b *testing.B) {
	r := start(b)
	n := 0
	for b.Loop() {
		n++
		id, uid := fmt.Sprint("s", n), 10000+n%40000
		r.session(b, id, uid)
		if err := r.CloseSession(b.Context(), id, uid); err != nil {
			b.Fatal(err)
		}
	}
}

// The same with a room for each session: agenttest knows the part of the benchmark's name.
func BenchmarkWith(b *testing.B) {
	b.Run("rooms", func(b *testing.B) {
		b.Run("True", BenchmarkTrue)
		b.Run("Output", BenchmarkOutput)
		b.Run("OpenClose", BenchmarkOpenClose)
	})
}

// CloseSession of a session that has 1,000 processes and few files, without rooms and with them.
func BenchmarkTerminate(b *testing.B) {
	for _, kind := range []string{"shared", "rooms"} {
		b.Run(kind, func(b *testing.B) {
			r := start(b, "-max-processes=1200")
			n := 0
			for b.Loop() {
				b.StopTimer()
				n++
				id, uid := fmt.Sprint("s", n), 10000+n
				r.session(b, id, uid)
				said, say := io.Pipe()
				p, err := r.Start(b.Context(), agent.Command{
					Session: id, Args: []string{"sh", "-c", "i=0; while [ $i -lt 999 ]; do sleep 1000 & i=$((i+1)); done; echo; wait"}, Stdout: say,
				})
				if err != nil {
					b.Fatal(err)
				}
				io.ReadFull(said, make([]byte, 1))
				b.StartTimer()
				if err := r.CloseSession(b.Context(), id, uid); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				p.Wait()
				b.StartTimer()
			}
		})
	}
}

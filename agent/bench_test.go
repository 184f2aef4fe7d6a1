package agent_test

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/berth-go/berth/agent"
)

// A command that does nothing, from Start to Wait.
func BenchmarkTrue(b *testing.B) {
	r := start(b)
	r.session(b, "s", 10001)
	for b.Loop() {
		p, err := r.Start(b.Context(), agent.Command{Session: "s", Args: []string{"true"}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(); err != nil {
			b.Fatal(err)
		}
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
		p, err := r.Start(b.Context(), agent.Command{
			Session: "s", Args: []string{"head", "-c", fmt.Sprint(size), "/dev/zero"}, Stdout: discard{},
		})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(); err != nil {
			b.Fatal(err)
		}
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
				p, err := r.Start(b.Context(), agent.Command{
					Session: "s", Args: []string{"head", "-c", fmt.Sprint(size), "/dev/zero"}, Stdout: discard{},
				})
				if err != nil {
					b.Error(err)
					return
				}
				if _, err := p.Wait(); err != nil {
					b.Error(err)
				}
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
		p, err := r.Start(b.Context(), agent.Command{
			Session: "s", Args: []string{"sh", "-c", "cat >/dev/null"}, Stdin: io.LimitReader(zeros{}, size),
		})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(); err != nil {
			b.Fatal(err)
		}
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

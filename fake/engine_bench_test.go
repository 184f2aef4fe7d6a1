package fake_test

import (
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

var benchKey = naming.Key{Repository: naming.Repository{Host: "github.com", Path: "golang/go"}}

// attached returns the inside of a container whose mirror is there.
func attached(tb testing.TB, e orchestrator.Engine, key naming.Key) orchestrator.Inside {
	tb.Helper()
	ctx := tb.Context()
	h, err := e.Connect(ctx, orchestrator.Endpoint{Pool: "p", PoolUID: "u", Launch: "l", Address: "tcp://10.0.0.1:2376"})
	if err != nil {
		tb.Fatal(err)
	}
	c, err := h.Ensure(ctx, orchestrator.ContainerSpec{Name: key.ContainerName("p"), Key: key}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	in, err := h.Attach(ctx, c.Name)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := in.Fetch(ctx, agent.Fetch{URL: "https://" + key.Repository.String()}, nil); err != nil {
		tb.Fatal(err)
	}
	return in
}

// running starts a command in session(0), which it opens.
func running(t *testing.T, in orchestrator.Inside, stdout io.Writer) orchestrator.Process {
	t.Helper()
	if _, err := in.Open(t.Context(), session(0)); err != nil {
		t.Fatal(err)
	}
	p, err := in.Start(t.Context(), agent.Command{Session: "s-0", Args: []string{"x"}, Stdout: stdout})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func session(i int) agent.Session {
	return agent.Session{ID: fmt.Sprintf("s-%d", i), UID: 10000 + i, Dir: "go", URL: "https://github.com/golang/go"}
}

func BenchmarkOpenAndClose(b *testing.B) {
	in := attached(b, fake.NewEngine(fake.EngineOptions{Instant: true}), benchKey)
	b.ReportAllocs()
	s := session(0)
	for b.Loop() {
		if _, err := in.Open(b.Context(), s); err != nil {
			b.Fatal(err)
		}
		if err := in.CloseSession(b.Context(), s.ID, s.UID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFetchThatIsFresh(b *testing.B) {
	in := attached(b, fake.NewEngine(fake.EngineOptions{Instant: true}), benchKey)
	b.ReportAllocs()
	f := agent.Fetch{URL: "https://github.com/golang/go", MaxAge: time.Hour}
	for b.Loop() {
		if _, err := in.Fetch(b.Context(), f, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStartAndWait(b *testing.B) {
	in := attached(b, fake.NewEngine(fake.EngineOptions{Instant: true}), benchKey)
	if _, err := in.Open(b.Context(), session(0)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	c := agent.Command{Session: "s-0", Args: []string{"true"}}
	for b.Loop() {
		p, err := in.Start(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEnsureAndRemove(b *testing.B) {
	e := fake.NewEngine(fake.EngineOptions{Instant: true})
	h, err := e.Connect(b.Context(), orchestrator.Endpoint{Pool: "p", PoolUID: "u", Address: "tcp://10.0.0.1:2376"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	spec := orchestrator.ContainerSpec{Name: benchKey.ContainerName("p"), Key: benchKey}
	for b.Loop() {
		if _, err := h.Ensure(b.Context(), spec, nil); err != nil {
			b.Fatal(err)
		}
		if err := h.Remove(b.Context(), spec.Name, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMemoryPerSession(b *testing.B) {
	in := attached(b, fake.NewEngine(fake.EngineOptions{Instant: true}), benchKey)
	sessions := make([]agent.Session, 50_000)
	for i := range sessions {
		sessions[i] = session(i)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		for _, s := range sessions {
			if _, err := in.Open(b.Context(), s); err != nil {
				b.Fatal(err)
			}
		}
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(sessions)), "B/session")
	runtime.KeepAlive(in)
	runtime.KeepAlive(sessions)
}

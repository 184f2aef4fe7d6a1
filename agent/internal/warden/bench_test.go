package warden

import (
	"slices"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/internal/room"
)

// BenchmarkRoom opens and ends rooms, and takes spare ones, one after another, and reports the medians in milliseconds.
func BenchmarkRoom(b *testing.B) {
	g := newGround(b)
	bx := g.box(b)
	var open, take, kill, shut []time.Duration
	s := spec("bench", 10001)
	s.Limits = room.Limits{MemoryBytes: 256 << 20, PIDs: 1024, CPUWeight: 100, TmpBytes: 1 << 30, VarTmpBytes: 1 << 28, ShmBytes: 1 << 28, Inodes: 10000, PTYs: 16}
	spare := s
	spare.UID, spare.Dir, spare.Spare = 0, "", true
	for b.Loop() {
		o := bx.open(s)
		var t, k, c time.Duration
		if err := bx.rpc.Call("Agent.Kill", s.ID, &k); err != nil {
			b.Fatal(err)
		}
		if err := bx.rpc.Call("Agent.Close", s.ID, &c); err != nil {
			b.Fatal(err)
		}
		bx.open(spare)
		if err := bx.rpc.Call("Agent.Take", s, &t); err != nil {
			b.Fatal(err)
		}
		bx.close(s.ID)
		open, take, kill, shut = append(open, o.Took), append(take, t), append(kill, k), append(shut, c)
	}
	for name, times := range map[string][]time.Duration{"open": open, "take": take, "kill": kill, "close": shut} {
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "ms/"+name)
		b.ReportMetric(float64(times[len(times)*9/10].Microseconds())/1000, "p90-ms/"+name)
	}
}

package layer

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/need"
)

// install makes a tree like that of a large installation: 30,000 files with 300 MB, most of them small texts.
func install(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	words := make([][]byte, 4000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x ", r.Uint64()>>(r.IntN(48)))
	}
	text := make([]byte, 0, 64<<10)
	for i := range 30_000 {
		at := filepath.Join(dir, fmt.Sprintf("package-%d/lib/part-%d", i/60, i/15%4))
		if i%15 == 0 {
			if err := os.MkdirAll(at, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		for text = text[:0]; len(text) < 2_000+i%17*1_000; {
			text = append(text, words[r.IntN(len(words))]...)
		}
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("file-%d.js", i)), text, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// cost is what something took.
type cost struct{ time, cpu time.Duration }

// add adds what a function takes. who is whose CPU time counts: RUSAGE_SELF or RUSAGE_CHILDREN.
func (c *cost) add(b *testing.B, who int, do func()) {
	b.Helper()
	cpu := func() time.Duration {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err != nil {
			b.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	began, before := time.Now(), cpu()
	do()
	c.time += time.Since(began)
	c.cpu += cpu() - before
}

// report reports what ours took, as a share of theirs.
func report(b *testing.B, ours, theirs cost, name string) {
	b.ReportMetric(ours.time.Seconds()/theirs.time.Seconds(), "x-"+name)
	b.ReportMetric(ours.cpu.Seconds()/theirs.cpu.Seconds(), "x-cpu")
}

// shell runs a pipe of other programs.
func shell(b *testing.B, script string, args ...string) {
	b.Helper()
	if out, err := exec.Command("bash", append([]string{"-o", "pipefail", "-c", script, "bash"}, args...)...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", script, err, out)
	}
}

// BenchmarkPack packs a tree, and compares with "tar | zstd -1" in the same run. The ratios are below 1 where Pack is faster or smaller.
func BenchmarkPack(b *testing.B) {
	need.Program(b, "zstd")
	dir := install(b)
	theirs := filepath.Join(b.TempDir(), "theirs")
	ours := filepath.Join(b.TempDir(), "ours")
	var our, their cost
	for b.Loop() {
		our.add(b, syscall.RUSAGE_SELF, func() {
			f, err := os.Create(ours)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := Pack(b.Context(), f, dir, Limits{}); err != nil {
				b.Fatal(err)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		})
		b.StopTimer()
		their.add(b, syscall.RUSAGE_CHILDREN, func() { shell(b, `tar -C "$1" -cf - . | zstd -q -1 -f -o "$2"`, dir, theirs) })
		b.StartTimer()
	}
	size := make(map[string]float64)
	for _, file := range []string{ours, theirs} {
		info, err := os.Stat(file)
		if err != nil {
			b.Fatal(err)
		}
		size[file] = float64(info.Size())
	}
	report(b, our, their, "tar-zstd")
	b.ReportMetric(size[ours]/size[theirs], "x-size")
	b.ReportMetric(size[ours]/1e6, "MB")
}

// BenchmarkUnpack unpacks such a stream, and compares with "zstd -d | tar -x" in the same run.
func BenchmarkUnpack(b *testing.B) {
	need.Program(b, "zstd")
	var stream bytes.Buffer
	if _, err := Pack(b.Context(), &stream, install(b), Limits{}); err != nil {
		b.Fatal(err)
	}
	parent := b.TempDir()
	file := filepath.Join(parent, "stream")
	if err := os.WriteFile(file, stream.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	var our, their cost
	to, theirs := filepath.Join(parent, "unpacked"), filepath.Join(parent, "theirs")
	for b.Loop() {
		our.add(b, syscall.RUSAGE_SELF, func() {
			f, err := os.Open(file)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			if _, err := Unpack(b.Context(), to, f, Options{}); err != nil {
				b.Fatal(err)
			}
		})
		b.StopTimer()
		their.add(b, syscall.RUSAGE_CHILDREN, func() { shell(b, `mkdir "$2" && zstd -q -d -c "$1" | tar -C "$2" -xf -`, file, theirs) })
		for _, dir := range []string{to, theirs} {
			if err := os.RemoveAll(dir); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
	report(b, our, their, "zstd-tar")
}

// BenchmarkCompress compresses alone, for the share of it.
func BenchmarkCompress(b *testing.B) {
	var plain bytes.Buffer
	if _, err := pack(b.Context(), &plain, install(b), Limits{}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(plain.Len()))
	for b.Loop() {
		z, err := compress(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := z.Write(plain.Bytes()); err != nil {
			b.Fatal(err)
		}
		if err := z.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

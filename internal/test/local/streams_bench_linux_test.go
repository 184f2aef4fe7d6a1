package local_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
)

// The benchmarks in this file compare a stream of a session's command with one of "docker exec" through the API's client, one
// after the other in the same run. Wanted: a speed of at least 0.8 times that of exec, at no more CPU time. The CPU time of berth
// is that of this process and of the agent, that of exec is that of this process. Both use the engine too: see enginesCPU.

const streamed = 256 << 20 // bytes of a stream

var (
	source = []string{"dd", "if=/dev/zero", "bs=64k", "count=" + strconv.Itoa(streamed>>16), "status=none"}
	drain  = []string{"dd", "of=/dev/null", "bs=64k", "status=none"}
)

// sink counts bytes. Unlike io.Discard it has no ReadFrom.
type sink struct{ n int64 }

func (s *sink) Write(p []byte) (int, error) { s.n += int64(len(p)); return len(p), nil }

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// spent is what some streams took.
type spent struct{ wall, here, agent, engine time.Duration }

// add adds what do takes. agent returns the agent's CPU time.
func (s *spent) add(agent func() time.Duration, do func()) {
	inside, engine, here, begun := agent(), enginesCPU(), ownCPU(), time.Now()
	do()
	s.wall += time.Since(begun)
	s.here += ownCPU() - here
	s.engine += enginesCPU() - engine
	s.agent += agent() - inside
}

// report reports the speed and the CPU time per GB.
func (s *spent) report(b *testing.B, name string) {
	gb := float64(streamed) * float64(b.N) / 1e9
	b.ReportMetric(gb*1e3/s.wall.Seconds(), "MB/s-"+name)
	b.ReportMetric((s.here+s.agent).Seconds()*1e3/gb, "CPU-ms/GB-"+name)
	b.ReportMetric(s.engine.Seconds()*1e3/gb, "engine-CPU-ms/GB-"+name)
}

// streams runs the comparison.
func streams(b *testing.B, run func(*berth.Session), exec func(y *yard, container string)) {
	y := newYard(b)
	s, _ := y.create(y.Git.Create("org/repo", gittest.Small()).URL())
	defer y.end(s)
	hand, _ := y.hand()
	defer y.removeHand(hand)
	agent := func() time.Duration {
		_, after, _ := strings.Cut(y.Inside(s.Info().Container.ID, "cat /proc/1/stat"), ") ")
		return ticks(strings.Fields(after))
	}
	none := func() time.Duration { return 0 }
	run(s)
	exec(y, hand)
	var ours, theirs spent
	for b.Loop() {
		theirs.add(none, func() { exec(y, hand) })
		ours.add(agent, func() { run(s) })
	}
	b.ReportMetric(0, "ns/op")
	ours.report(b, "berth")
	theirs.report(b, "exec")
	b.ReportMetric(theirs.wall.Seconds()/ours.wall.Seconds(), "ratio")
	b.ReportMetric((ours.here+ours.agent).Seconds()/theirs.here.Seconds(), "CPU-ratio")
	b.ReportMetric(ours.agent.Seconds()/(ours.here+ours.agent).Seconds(), "agent-share")
}

// BenchmarkStdout reads the output of a command.
func BenchmarkStdout(b *testing.B) {
	streams(b, func(s *berth.Session) {
		out := new(sink)
		c := s.Command(context.Background(), source[0], source[1:]...)
		c.Stdout = out
		if err := c.Run(); err != nil || out.n != streamed {
			b.Fatalf("%d bytes, %v", out.n, err)
		}
	}, func(y *yard, container string) {
		attached := y.attach(container, client.ExecCreateOptions{Cmd: source, AttachStdout: true, AttachStderr: true})
		defer attached.Close()
		out := new(sink)
		if _, err := stdcopy.StdCopy(out, io.Discard, attached.Reader); err != nil || out.n != streamed {
			b.Fatalf("%d bytes, %v", out.n, err)
		}
	})
}

// BenchmarkStdin writes the input of a command.
func BenchmarkStdin(b *testing.B) {
	streams(b, func(s *berth.Session) {
		c := s.Command(context.Background(), drain[0], drain[1:]...)
		c.Stdin = io.LimitReader(endless{}, streamed)
		if err := c.Run(); err != nil {
			b.Fatal(err)
		}
	}, func(y *yard, container string) {
		attached := y.attach(container, client.ExecCreateOptions{Cmd: drain, AttachStdin: true, AttachStdout: true, AttachStderr: true})
		defer attached.Close()
		if _, err := io.Copy(attached.Conn, io.LimitReader(endless{}, streamed)); err != nil {
			b.Fatal(err)
		}
		if err := attached.CloseWrite(); err != nil {
			b.Fatal(err)
		}
		if _, err := stdcopy.StdCopy(io.Discard, io.Discard, attached.Reader); err != nil {
			b.Fatal(err)
		}
	})
}

// attach starts a program by hand.
func (y *yard) attach(container string, o client.ExecCreateOptions) client.HijackedResponse {
	e, err := y.Docker.ExecCreate(context.Background(), container, o)
	if err != nil {
		y.b.Fatal(err)
	}
	attached, err := y.Docker.ExecAttach(context.Background(), e.ID, client.ExecAttachOptions{})
	if err != nil {
		y.b.Fatal(err)
	}
	return attached.HijackedResponse
}

// ownCPU returns the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// enginesCPU returns the CPU time of all engines of this machine and of what they run between them and containers. It is 0 if the
// engine runs elsewhere. Whatever else the engine does counts too.
func enginesCPU() (sum time.Duration) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		name, after, ok := strings.Cut(string(stat), ") ")
		if _, name, _ = strings.Cut(name, "("); err != nil || !ok || name != "dockerd" && !strings.HasPrefix(name, "containerd") {
			continue
		}
		sum += ticks(strings.Fields(after))
	}
	return sum
}

// ticks returns the CPU time from the fields of a stat file behind the name.
func ticks(fields []string) time.Duration {
	const user, system = 11, 12
	if len(fields) <= system {
		return 0
	}
	a, _ := strconv.Atoi(fields[user])
	b, _ := strconv.Atoi(fields[system])
	return time.Duration(a+b) * (time.Second / 100)
}

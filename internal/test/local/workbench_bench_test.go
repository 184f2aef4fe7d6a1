package local_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/paired"
	"github.com/berth-go/berth/internal/test/testenv"
)

// bench opens a session, and a container by hand beside it.
func bench(b *testing.B) (y *yard, s *berth.Session, hand string) {
	b.Helper()
	return newYard(b).bench()
}

func (y *yard) bench() (_ *yard, s *berth.Session, hand string) {
	s, _ = y.create(y.Git.Create("org/repo", gittest.Small()).URL())
	hand, _ = y.hand()
	y.b.Cleanup(func() {
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

// webServer answers each request with "ok", and closes the connection.
var webServer = []string{"python3", "-c", `
import socket
server = socket.create_server(("", 3000), backlog=128)
while True:
    client, _ = server.accept()
    with client, client.makefile("rb") as request:
        while request.readline().strip():
            pass
        client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
`}

// BenchmarkDial compares a connection and a GET to a server in a session, by Session.Dial, with the same to the address of a container that
// was started by hand. Wanted: a difference of at most 1.5 ms.
func BenchmarkDial(b *testing.B) {
	y, s, hand := newYardWith(b, testenv.ImageWith(b, "python3-pip")).bench()
	ctx, cancel := context.WithCancel(context.Background())
	server := s.Command(ctx, webServer[0], webServer[1:]...)
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		cancel()
		_ = server.Wait() // it was killed
	}()
	made, err := y.Docker.ExecCreate(ctx, hand, client.ExecCreateOptions{Cmd: webServer})
	if err == nil {
		_, err = y.Docker.ExecStart(ctx, made.ID, client.ExecStartOptions{Detach: true})
	}
	if err != nil {
		b.Fatal(err)
	}
	state, err := y.Docker.ContainerInspect(ctx, hand, client.ContainerInspectOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var address string
	for _, network := range state.Container.NetworkSettings.Networks {
		address = network.IPAddress.String()
	}
	get := func(c *http.Client, host string) func() error {
		return func() error {
			answer, err := c.Get("http://" + host + ":3000/")
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "ok" {
				return fmt.Errorf("the answer is %q, %v", text, err)
			}
			return nil
		}
	}
	ours := get(&http.Client{Transport: &http.Transport{DialContext: s.Dial}}, "localhost")
	theirs := get(&http.Client{Transport: new(http.Transport)}, address)
	for _, ready := range []func() error{ours, theirs} {
		for begun := time.Now(); ready() != nil && time.Since(begun) < time.Minute; {
			time.Sleep(100 * time.Millisecond)
		}
	}
	var times paired.Times
	for b.Loop() {
		times.Run(20, func() time.Duration { return took(b, ours) }, func() time.Duration { return took(b, theirs) })
	}
	times.Report(b, "berth", "direct")
}

// BenchmarkKeptOutput attaches to a command that has ended, and reads the 100 MB that it has written. Wanted: at least 100 MB/s.
func BenchmarkKeptOutput(b *testing.B) {
	_, s, _ := bench(b)
	const size = 100 << 20
	c := s.Command(context.Background(), "head", "-c", strconv.Itoa(size), "/dev/zero")
	c.Detached, c.Keep = true, size
	if err := c.Run(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		again, err := s.Attach(context.Background(), c.ID())
		if err != nil {
			b.Fatal(err)
		}
		out := new(sink)
		again.Stdout = out
		if err := again.Run(); err != nil || out.n != size {
			b.Fatalf("%d bytes, %v", out.n, err)
		}
	}
}

package local_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/paired"
)

// The benchmarks in this file compare the files of a session with what Docker's API has for that, one after the other in the same run.

// filing is a session, and a container that was started by hand.
type filing struct {
	*yard
	s    *berth.Session
	hand string
}

func newFiling(b *testing.B) *filing {
	f := &filing{yard: newYard(b)}
	f.s, _ = f.create(f.Git.Create("org/repo", gittest.Small()).URL())
	b.Cleanup(func() { f.end(f.s) })
	f.hand, _ = f.yard.hand()
	b.Cleanup(func() { f.removeHand(f.hand) })
	return f
}

// took returns how long something takes, which must succeed.
func took(b *testing.B, do func() error) time.Duration {
	begun := time.Now()
	if err := do(); err != nil {
		b.Fatal(err)
	}
	return time.Since(begun)
}

// archive returns a tar archive with many files of the same content.
func archive(b *testing.B, files int, content []byte) []byte {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for i := range files {
		name := fmt.Sprintf("tree/%d/%d", i/100, i)
		if files == 1 {
			name = "file"
		}
		if i%100 == 0 && files > 1 {
			w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("tree/%d/", i/100), Mode: 0o755})
		}
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))})
		w.Write(content)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return packed.Bytes()
}

// BenchmarkReadFile reads a file of 1 KB, and BenchmarkWriteFile writes one, beside "docker cp" through the API's client. Wanted: a ratio of
// at most 0.15, and at most 2 ms more than a round trip on the loopback interface.
func BenchmarkReadFile(b *testing.B) {
	small(b, func(f *filing) error {
		content, err := f.s.FS(context.Background()).ReadFile("/tmp/file")
		if err == nil && len(content) != 1024 {
			err = io.ErrUnexpectedEOF
		}
		return err
	}, func(f *filing) error {
		r, err := f.Docker.CopyFromContainer(context.Background(), f.hand, client.CopyFromContainerOptions{SourcePath: "/tmp/file"})
		if err != nil {
			return err
		}
		defer r.Content.Close()
		in := tar.NewReader(r.Content)
		if _, err = in.Next(); err != nil {
			return err
		}
		content, err := io.ReadAll(in)
		if err == nil && len(content) != 1024 {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
}

func BenchmarkWriteFile(b *testing.B) {
	small(b, writeSmall, writeByHand(archive(b, 1, make([]byte, 1024))))
}

func writeSmall(f *filing) error {
	return f.s.FS(context.Background()).WriteFile("/tmp/file", make([]byte, 1024), 0o644)
}

func writeByHand(packed []byte) func(f *filing) error {
	return func(f *filing) error {
		_, err := f.Docker.CopyToContainer(context.Background(), f.hand, client.CopyToContainerOptions{
			DestinationPath: "/tmp", Content: bytes.NewReader(packed),
		})
		return err
	}
}

func small(b *testing.B, ours, byHand func(*filing) error) {
	f := newFiling(b)
	echo := loopback(b)
	for _, err := range []error{writeSmall(f), writeByHand(archive(b, 1, make([]byte, 1024)))(f), ours(f), byHand(f)} {
		if err != nil {
			b.Fatal(err)
		}
	}
	var cp, trip paired.Times
	for b.Loop() {
		cp.Run(1, func() time.Duration { return took(b, func() error { return ours(f) }) },
			func() time.Duration { return took(b, func() error { return byHand(f) }) })
		trip.Run(1, func() time.Duration { return took(b, func() error { return ours(f) }) },
			func() time.Duration { return took(b, echo) })
	}
	cp.Report(b, "berth", "cp")
	b.ReportMetric(trip.Difference().Value, "ms-above-loopback")
}

// loopback returns a function that sends 1 KB to another goroutine and gets it back, over TCP.
func loopback(b *testing.B) func() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err == nil {
			io.Copy(conn, conn)
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return func() error {
		buf := make([]byte, 1024)
		if _, err := conn.Write(buf); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, buf)
		return err
	}
}

// BenchmarkCopyIn unpacks 10,000 files of 1 KB in the checkout of a session, beside "tar" through the engine's exec, in a directory of its
// container. Wanted: a ratio of at most 1.43, which is 0.7 times its speed.
func BenchmarkCopyIn(b *testing.B) {
	f := newFiling(b)
	packed := archive(b, 10_000, make([]byte, 1024))
	fsys := f.s.FS(context.Background())
	f.exec(f.hand, "mkdir", "/copies")
	var times paired.Times
	for b.Loop() {
		times.Run(1, func() time.Duration {
			return took(b, func() error { return fsys.CopyIn(bytes.NewReader(packed)) })
		}, func() time.Duration {
			return took(b, func() error { return f.untar(packed) })
		})
		b.StopTimer()
		if err := fsys.RemoveAll("tree"); err != nil {
			b.Fatal(err)
		}
		f.exec(f.hand, "rm", "-r", "/copies/tree")
		b.StartTimer()
	}
	times.Report(b, "berth", "tar")
}

// untar unpacks an archive in the container that was started by hand.
func (f *filing) untar(packed []byte) error {
	attached := f.attach(f.hand, client.ExecCreateOptions{
		Cmd: []string{"tar", "-x", "-f", "-", "-C", "/copies"}, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	defer attached.Close()
	if _, err := attached.Conn.Write(packed); err != nil {
		return err
	}
	if err := attached.CloseWrite(); err != nil {
		return err
	}
	if said, err := io.ReadAll(attached.Reader); err != nil || len(said) > 0 {
		return fmt.Errorf("tar: %q, %v", said, err)
	}
	return nil
}

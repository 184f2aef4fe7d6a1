package agent_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

// hashed is a Writer that keeps the hash and the number of its bytes.
type hashed struct {
	n int64
	h hash.Hash
}

func newHashed() *hashed { return &hashed{h: sha256.New()} }

func (w *hashed) Write(p []byte) (int, error) { w.n += int64(len(p)); return w.h.Write(p) }

func (w *hashed) String() string { return fmt.Sprintf("%d bytes %x", w.n, w.h.Sum(nil)[:8]) }

// noise is a Reader of n bytes that nothing compresses; equal seeds give equal bytes.
func noise(seed uint64, n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{byte(seed)}), n)
}

func TestBinaryStdinComesBackUnchanged(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	for _, n := range []int64{0, 1, 16 << 10, 256 << 10, 256<<10 + 1, 30 << 20} {
		want, got := newHashed(), newHashed()
		p, err := r.Start(testContext(t), agent.Command{
			Session: "s", Args: []string{"cat"}, Stdin: io.TeeReader(noise(1, n), want), Stdout: got,
		})
		if err != nil {
			t.Fatal(err)
		}
		if exit, err := p.Wait(); err != nil || exit.Code != 0 || want.String() != got.String() {
			t.Errorf("%d bytes: %v, %v: sent %v, received %v", n, exit, err, want, got)
		}
	}
}

func TestStdoutAndStderrApartAndTogether(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	script := "for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done"
	var out, errs bytes.Buffer
	p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sh", "-c", script}, Stdout: &out, Stderr: &errs})
	if err != nil {
		t.Fatal(err)
	}
	p.Wait()
	if out.String() != "out1\nout2\nout3\nout4\nout5\n" || errs.String() != "err1\nerr2\nerr3\nerr4\nerr5\n" {
		t.Errorf("apart: %q, %q", &out, &errs)
	}
	if both, _ := r.run(t, "s", script); !strings.HasPrefix(both, "out1\nerr1\nout2\nerr2\n") {
		t.Errorf("together: %q", both)
	}
	if text, _ := r.run(t, "s", "echo a >/dev/stdout; echo b >/dev/stderr"); text != "a\nb\n" {
		t.Errorf("/dev/stdout: %q", text)
	}
}

func TestAProgramThatClosesStdinEndsTheCopySilently(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	var out bytes.Buffer
	p, err := r.Start(testContext(t), agent.Command{
		Session: "s", Args: []string{"head", "-c", "3"}, Stdin: noise(2, 1<<30), Stdout: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 || out.Len() != 3 {
		t.Errorf("%+v, %v, %d bytes", exit, err, out.Len())
	}
}

// brokenWriter fails after some bytes.
type brokenWriter struct{ left int }

var errBroken = errors.New("this writer is broken")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestAWriterThatFailsStopsTheProgram(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	p, err := r.Start(testContext(t), agent.Command{
		Session: "s", Args: []string{"yes"}, Stdout: &brokenWriter{left: 1 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); !errors.Is(err, errBroken) || exit.Signal != 13 {
		t.Errorf("%+v, %v", exit, err)
	}
}

func TestASlowReaderHoldsTheProgramBack(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	out, in := io.Pipe()
	p, err := r.Start(testContext(t), agent.Command{
		Session: "s", Args: []string{"sh", "-c", "head -c 20000000 /dev/zero; date +%s.%N"}, Stdout: in,
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	select {
	case <-ended(p):
		t.Error("20 MB were buffered somewhere: the program has ended before anyone read")
	default:
	}
	go io.Copy(io.Discard, out)
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
}

func ended(p *agent.Process) <-chan struct{} { return agent.Ended(p) }

func TestWaitDelayBoundsPipesThatAreHeldOpen(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	var out bytes.Buffer
	p, err := r.Start(testContext(t), agent.Command{
		Session: "s", Args: []string{"sh", "-c", "echo hi; sleep 1000 &"}, Stdout: &out, WaitDelay: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if exit, err := p.Wait(); !errors.Is(err, exec.ErrWaitDelay) || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("Wait took %v", took)
	}
}

func TestStdinThatEndsWithTheProgramDoesNotKeepWait(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	in, w := io.Pipe()
	p, err := r.Start(testContext(t), agent.Command{
		Session: "s", Args: []string{"true"}, Stdin: in, Ended: func(agent.Exit, error) { w.Close() },
	})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("Wait took %v", took)
	}
}

func TestLargeOutput(t *testing.T) {
	size := soaking[int64](64<<20, 1<<30)
	r := start(t)
	r.session(t, "s", 10001)
	got := newHashed()
	p, err := r.Start(testContext(t), agent.Command{
		Session: "s", Args: []string{"head", "-c", fmt.Sprint(size), "/dev/zero"}, Stdout: got,
	})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if exit, err := p.Wait(); err != nil || exit.Code != 0 || got.n != size {
		t.Errorf("%+v, %v, %d bytes", exit, err, got.n)
	}
	t.Logf("%.0f MB/s", float64(size)/1e6/time.Since(begun).Seconds())
}

package command_test

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
)

// TestFileAsStdin: Wait does not wait for an *os.File, as in os/exec, where the program itself has the file. Virtual
// time stands still while a file is read, so this test runs in real time.
func TestFileAsStdin(t *testing.T) {
	p, err := fake.NewProvider(fake.Options{Instant: true, Run: world.Shell})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := world.Create(t, p, world.Request("t", world.RepoA))
	terminal, keys, err := os.Pipe() // nothing is written to it
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	defer keys.Close()
	ended := make(chan error, 1)
	go func() {
		cmd := s.Command(t.Context(), "true")
		cmd.Stdin = terminal
		ended <- cmd.Run()
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run waits for a file that nobody writes to")
	}

	name := t.TempDir() + "/big"
	big := strings.Repeat("0123456789abcdef", 1<<16)
	if err := os.WriteFile(name, []byte(big), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := s.Command(t.Context(), "cat")
	cmd.Stdin = file
	if out, err := cmd.Output(); err != nil || string(out) != big {
		t.Errorf("%d bytes of %d, %v", len(out), len(big), err)
	}
}

// TestStdinPipeBeforeStart: a Write to the pipe waits until the command starts.
func TestStdinPipeBeforeStart(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			io.WriteString(in, "early")
			in.Close()
		}()
		synctest.Wait()
		if out, err := cmd.Output(); err != nil || string(out) != "early" {
			t.Errorf("%q, %v", out, err)
		}
	})
}

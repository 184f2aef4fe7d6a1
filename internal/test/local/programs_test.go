package local_test

import (
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// A screen is what a program shows in a terminal, with its escape sequences.
type screen struct {
	t  *testing.T
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// escape matches what moves the cursor or sets colours.
var escape = regexp.MustCompile(`\x1b(\[[0-9;?>]*[ -/]*[@-~]|[()][AB0]|[=>78]|\][^\x07]*\x07)`)

// until waits until the program has shown a text after the first from bytes, and returns how much it has shown then.
func (s *screen) until(from int, pattern string) int {
	s.t.Helper()
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		all := s.shown()
		if want.MatchString(escape.ReplaceAllString(all[from:], "")) {
			return len(all)
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is not in %q", pattern, all[from:])
		}
	}
}

// start starts a program in a terminal.
func (s *screen) start(in *berth.Session, name string, args ...string) (*berth.Cmd, io.WriteCloser) {
	s.t.Helper()
	cmd := in.Command(s.t.Context(), name, args...)
	cmd.TTY, cmd.Stdout, cmd.Stderr = &berth.TTYSize{Rows: 24, Cols: 80}, s, s
	keys, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return cmd, keys
}

func typed(t *testing.T, keys io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(keys, text); err != nil {
		t.Fatal(err)
	}
}

// TestLocalProgramsThatDraw: an editor and top work in a terminal, and redraw when its size changes.
func TestLocalProgramsThatDraw(t *testing.T) {
	l := local.New(t, berth.Config{Image: testenv.ImageWith(t, "ncurses-base", "vim-tiny")})
	remote := l.Git.Create("org/draws", gittest.Files(map[string]string{"README": "hello\n"}))
	s := l.Create("draws", remote.URL(), "")
	ctx := t.Context()

	vim := &screen{t: t}
	cmd, keys := vim.start(s, "vim.tiny", "README")
	at := vim.until(0, `README[\s\S]*hello[\s\S]*~`)
	typed(t, keys, "Oabove\x1b")
	at = vim.until(at, `above`)
	if err := cmd.Resize(berth.TTYSize{Rows: 10, Cols: 40}); err != nil {
		t.Fatal(err)
	}
	vim.until(at, `above[\s\S]*hello`) // drawn again
	typed(t, keys, ":wq\r")
	if err := cmd.Wait(); err != nil {
		t.Errorf("vim: %v", err)
	}
	if b, err := s.FS(ctx).ReadFile("README"); err != nil || string(b) != "above\nhello\n" {
		t.Errorf("vim has written %q, %v", b, err)
	}

	top := &screen{t: t}
	cmd, keys = top.start(s, "top", "-d", "1")
	at = top.until(0, `top - [\s\S]*PID +USER[\s\S]*\btop\b`)
	at = top.until(at, `top - [\s\S]*load average`) // by itself
	if err := cmd.Resize(berth.TTYSize{Rows: 12, Cols: 60}); err != nil {
		t.Fatal(err)
	}
	top.until(at, `top - [\s\S]*load average`)
	typed(t, keys, "q")
	if err := cmd.Wait(); err != nil {
		t.Errorf("top: %v", err)
	}
}

package sqlitestore_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/berth-go/berth/store/sqlitestore"
)

// childVar names the task of a child process. Children run this test binary.
const childVar = "BERTH_SQLITE_CHILD"

// children has the tasks of child processes, with the database at that path. They answer on their standard output.
var children = map[string]func(path string) error{
	"write": writeForEver, "write with a small limit": writeWithLimit, "open": openAndWrite,
}

func TestMain(m *testing.M) {
	if what := os.Getenv(childVar); what != "" {
		if err := children[what](os.Args[1]); err != nil {
			fmt.Println("error:", err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a process that works on the database.
type child struct {
	*exec.Cmd
	lines *bufio.Scanner
}

func startChild(t *testing.T, what, path string, change func(*exec.Cmd)) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, path)
	cmd.Env = append(os.Environ(), childVar+"="+what, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	if change != nil {
		change(cmd)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &child{cmd, bufio.NewScanner(out)}
}

// rest returns the rest of the child's output, and waits for its end.
func (c *child) rest() (lines []string) {
	for c.lines.Scan() {
		lines = append(lines, c.lines.Text())
	}
	_ = c.Wait() // it may have been killed
	return lines
}

func (c *child) output() string { return strings.Join(c.rest(), "\n") }

// openAndWrite opens the database, writes to it, and prints the result.
func openAndWrite(path string) error {
	s, err := sqlitestore.Open(ctxOfChild(), path)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Update(ctxOfChild(), nil, appendOne); err != nil {
		return err
	}
	_, err = io.WriteString(os.Stdout, "written\n")
	return err
}

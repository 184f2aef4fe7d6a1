package local_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-go/berth"
)

// noRight names, for a child process, the socket of an engine that it may not use.
const noRight = "BERTH_TEST_NO_RIGHT"

// TestLocalNoRight: an engine listens, and the user may not open its socket. Root may open any socket, so a child
// process of another user runs the test then.
func TestLocalNoRight(t *testing.T) {
	if address := os.Getenv(noRight); address != "" {
		wantNoRight(t, address)
		return
	}
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := os.Chmod(socket, 0); err != nil {
		t.Fatal(err)
	}
	address := "unix://" + socket
	if os.Getuid() != 0 {
		wantNoRight(t, address)
		return
	}
	if err := os.Chmod(dir, 0o711); err != nil { // the socket is what stops it
		t.Fatal(err)
	}
	const nobody = 65534
	child := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestLocalNoRight$", "-test.v") // its path may be closed to others
	child.Env = append(os.Environ(), noRight+"="+address)
	child.Dir = "/"
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestLocalNoRight") {
		t.Errorf("as uid %d: %v\n%s", nobody, err, out)
	}
}

func wantNoRight(t *testing.T, address string) {
	t.Helper()
	t.Setenv("DOCKER_HOST", address)
	p, err := berth.NewLocalProvider(t.Context(), berth.Config{})
	if err == nil {
		p.Close()
		t.Fatal("there is a Provider")
	}
	for _, words := range []string{"no right to use", address, "group docker", "DOCKER_HOST"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}
	t.Log(err)
}

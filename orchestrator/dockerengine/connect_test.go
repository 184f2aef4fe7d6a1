package dockerengine_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

func TestConnectSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	silent := listenOn(t, filepath.Join(dir, "silent.sock")) // accepts, and never answers
	dead := filepath.Join(dir, "dead.sock")
	if err := os.WriteFile(dead, nil, 0o600); err != nil { // no program listens there
		t.Fatal(err)
	}
	for _, c := range []struct{ address, want string }{
		{"unix://" + filepath.Join(dir, "absent.sock"), "no Docker engine at"},
		{"unix://" + dead, "no Docker engine at"},
		{"tcp://127.0.0.1:1", "no Docker engine at"},
		{"unix://" + silent, "does not answer in time"},
		{"ssh://host", "must begin with unix:// or tcp://"},
		{"", "must begin with unix:// or tcp://"},
	} {
		e := dockerengine.New(dockerengine.Options{CallTimeout: 500 * time.Millisecond})
		_, err := e.Connect(t.Context(), orchestrator.Endpoint{Pool: "p", Address: c.address})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.address) {
			t.Errorf("%q: the error is %v; want one that says %q and the address", c.address, err, c.want)
		}
	}
}

func TestConnectNeedsAnAgent(t *testing.T) {
	none := errors.New("none was built")
	e := dockerengine.New(dockerengine.Options{Agent: func(string) ([]byte, error) { return nil, none }})
	_, err := e.Connect(t.Context(), orchestrator.Endpoint{Pool: "p", Launch: "somebody-else", Address: startImpostor(t)})
	if !errors.Is(err, none) {
		t.Errorf("the error is %v; want %v", err, none)
	}
}

func listenOn(t *testing.T, socket string) string {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return socket
}

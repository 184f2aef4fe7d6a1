package scene

import (
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/berth-go/berth/pool/localcloud"
)

// stubEngine answers as a container engine at a socket of that path.
func stubEngine(t *testing.T, socket string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.44")
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

// TestConnectLooksWhereNewLocalProviderDoes: both ignore the environment's other settings of an engine.
func TestConnectLooksWhereNewLocalProviderDoes(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	stubEngine(t, socket)
	t.Setenv("DOCKER_CERT_PATH", filepath.Join(t.TempDir(), "none"))
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	docker, err := Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	if got := docker.DaemonHost(); got != "unix://"+socket || got != localcloud.DefaultAddress() {
		t.Errorf("it is connected to %s; NewLocalProvider takes %s", got, localcloud.DefaultAddress())
	}
}

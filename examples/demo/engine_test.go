package main

import (
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/berth-go/berth/internal/gittest"
	"github.com/berth-go/berth/internal/testenv"
	"github.com/berth-go/berth/pool/localcloud"
)

// stubEngine says at a socket of that path that it is a container engine.
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

// TestConnectLooksWhereNewLocalProviderDoes: what else the environment says about an engine counts for neither.
func TestConnectLooksWhereNewLocalProviderDoes(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	stubEngine(t, socket)
	t.Setenv("DOCKER_CERT_PATH", filepath.Join(t.TempDir(), "none"))
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	docker, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	if got := docker.DaemonHost(); got != "unix://"+socket || got != localcloud.DefaultAddress() {
		t.Errorf("it is connected to %s; NewLocalProvider takes %s", got, localcloud.DefaultAddress())
	}
}

// TestStoryOnGivenRepositories is -repo on the engine.
func TestStoryOnGivenRepositories(t *testing.T) {
	testenv.Image(t)
	repo := gittest.NewRepo("acme/rocket")
	repo.Commit("main", "Begin the rocket", map[string]string{"README.md": "# rocket\n"})
	server, err := gittest.Serve(t.Context(), testenv.Docker(t), repo)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	tellsOn(t, []string{server.URL(repo)}, []string{"acme/rocket", "Begin the rocket"})
}

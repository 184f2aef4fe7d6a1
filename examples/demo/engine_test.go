package main

import (
	"net"
	"net/http"
	"os"
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
	wantHost := func(t *testing.T, want string) {
		t.Helper()
		t.Setenv("DOCKER_CERT_PATH", filepath.Join(t.TempDir(), "none"))
		docker, err := connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer docker.Close()
		if got := docker.DaemonHost(); got != want || got != localcloud.DefaultAddress() {
			t.Errorf("it is connected to %s; want %s, and NewLocalProvider takes %s", got, want, localcloud.DefaultAddress())
		}
	}
	t.Run("DOCKER_HOST", func(t *testing.T) {
		t.Setenv("DOCKER_HOST", "unix://"+socket)
		wantHost(t, "unix://"+socket)
	})
	t.Run("an engine without root", func(t *testing.T) {
		if _, err := os.Stat("/var/run/docker.sock"); err == nil {
			t.Skip("the usual socket is there, and comes first")
		}
		t.Setenv("DOCKER_HOST", "")
		t.Setenv("XDG_RUNTIME_DIR", filepath.Dir(socket))
		wantHost(t, "unix://"+socket)
	})
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

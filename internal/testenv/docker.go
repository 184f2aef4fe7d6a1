// Package testenv gives tests what they need of the machine they run on: a Docker engine, git, the workspace image,
// and a pool's name that proves at the end of the test that nothing was left behind.
//
// What is missing skips the test, and says what it was. Under CI=true it fails the test instead: a build machine that
// lost its engine must not report success.
package testenv

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// connectTimeout bounds the first word of the engine.
const connectTimeout = 10 * time.Second

// Docker returns a client of the engine of DOCKER_HOST, or of the default socket. It is closed when the test ends.
func Docker(t testing.TB) *client.Client {
	t.Helper()
	docker, err := client.New(client.FromEnv)
	if err != nil {
		Missing(t, "needs a Docker engine, but DOCKER_HOST and its companions cannot be used: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if _, err := docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		docker.Close()
		Missing(t, "needs a Docker engine, and none answers at %s: %v", docker.DaemonHost(), err)
	}
	t.Cleanup(func() { docker.Close() })
	return docker
}

// Git returns the path of the machine's git.
func Git(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		Missing(t, "needs git on this machine: %v", err)
	}
	return path
}

// Missing ends a test for which the machine lacks something.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Soak says whether the long versions of random and crash tests were asked for, as "make soak" does.
func Soak() bool { return os.Getenv("BERTH_SOAK") != "" }

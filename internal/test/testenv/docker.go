// Package testenv gives tests the things that they need of their machine: a Docker engine, git, the workspace image,
// and the name of a pool. At the end of the test it checks that the pool has left nothing behind.
//
// If something is missing, the test skips, and says what. Under CI=true it fails the test instead: a build machine that
// lost its engine must not report success.
package testenv

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/need"
)

// connectTimeout bounds the engine's first answer.
const connectTimeout = time.Minute

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
	return need.Program(t, "git")
}

// Missing is [need.Missing], for tests that import this package anyway.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	need.Missing(t, format, args...)
}

// Soak reports whether to run the long versions of random and crash tests, as "make soak" does.
func Soak() bool { return os.Getenv("BERTH_SOAK") != "" }

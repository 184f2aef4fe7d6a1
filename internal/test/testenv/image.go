package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/workspace"
)

// imageTimeout bounds making the workspace image, downloads included.
const imageTimeout = 10 * time.Minute

// made remembers the image for the life of the test binary.
var made struct {
	sync.Mutex // also held while the image is made: every caller must wait for that anyway
	image      string
}

// Image returns the name of the workspace image: Debian with git and a shell. If the engine lacks it, it is made, once
// for all test binaries of the machine.
func Image(t testing.TB) string {
	t.Helper()
	made.Lock()
	defer made.Unlock()
	if made.image == "" {
		made.image = makeImage(t, workspace.Ensure)
	}
	return made.image
}

// ImageWith returns the name of the workspace image with more of Debian's packages. The test is skipped where they cannot be had.
func ImageWith(t testing.TB, packages ...string) string {
	t.Helper()
	return makeImage(t, func(ctx context.Context, docker *client.Client, progress func(string)) (string, error) {
		image, err := workspace.With(ctx, docker, progress, packages...)
		if err != nil && ctx.Err() == nil {
			Missing(t, "needs the Debian packages %v: %v", packages, err)
		}
		return image, err
	})
}

func makeImage(t testing.TB, ensure func(context.Context, *client.Client, func(string)) (string, error)) string {
	t.Helper()
	docker := Docker(t)
	ctx, cancel := context.WithTimeout(t.Context(), imageTimeout)
	defer cancel()
	unlock, err := lock(filepath.Join(os.TempDir(), fmt.Sprintf("berth-workspace-%d.lock", os.Getuid())))
	if err != nil {
		t.Fatalf("locking the workspace image against other test binaries: %v", err)
	}
	defer unlock()
	image, err := ensure(ctx, docker, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	return image
}

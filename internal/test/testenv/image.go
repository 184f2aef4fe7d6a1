package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

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
	docker := Docker(t)
	made.Lock()
	defer made.Unlock()
	if made.image != "" {
		return made.image
	}
	ctx, cancel := context.WithTimeout(t.Context(), imageTimeout)
	defer cancel()
	unlock, err := lock(filepath.Join(os.TempDir(), fmt.Sprintf("berth-workspace-%d.lock", os.Getuid())))
	if err != nil {
		t.Fatalf("locking the workspace image against other test binaries: %v", err)
	}
	defer unlock()
	image, err := workspace.Ensure(ctx, docker, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	made.image = image
	return image
}

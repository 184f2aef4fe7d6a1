package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestAWideFillIsLookedAtInPieces: the look at a fill ends soon after the limit is passed, however many files there are, and takes little
// memory.
func TestAWideFillIsLookedAtInPieces(t *testing.T) {
	top := t.TempDir()
	home := filepath.Join(top, "home")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	const many = 5000
	first := filepath.Join(home, "first")
	for i := range many {
		var err error
		if i == 0 {
			err = os.WriteFile(first, make([]byte, 1<<20), 0o644)
		} else {
			err = os.Link(first, filepath.Join(home, fmt.Sprintf("%0240d", i)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	look := func(most int64) (allocated uint64, err error) {
		r := fillRun{most: most, over: "larger than Cache.MaxBytes", measured: home, top: top}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = r.tooLarge(t.Context())
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc, err
	}
	if n, err := look(1); err == nil || !strings.Contains(err.Error(), "larger than Cache.MaxBytes") || n > 512<<10 {
		t.Errorf("over the limit: %v, with %d bytes allocated", err, n)
	}
	if _, err := look(64 << 20); err != nil { // the links are one file
		t.Errorf("below the limit: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r := fillRun{most: 64 << 20, measured: home, top: top}
	if err := r.tooLarge(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

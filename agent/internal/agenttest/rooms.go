package agenttest

import (
	"os"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/need"
)

const rooms = "rooms"

// Rooms reports whether the agents of a test have rooms: those of a test that is called so, or is part of one that is.
func Rooms(tb testing.TB) bool {
	return strings.Contains(tb.Name()+"/", "/"+rooms+"/")
}

// NeedMemoryLimits ends a test where the memory of rooms cannot be bounded. The rooms of the tests have cgroups of version 1.
func NeedMemoryLimits(tb testing.TB) {
	tb.Helper()
	Need(tb)
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil {
		return
	}
	need.Missing(tb, "needs memory cgroups of version 1, in a writable /sys/fs/cgroup/memory")
}

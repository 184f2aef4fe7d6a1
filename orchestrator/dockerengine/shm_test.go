package dockerengine

import (
	"testing"

	"github.com/berth-go/berth/orchestrator"
)

func TestSizeOfSharedMemory(t *testing.T) {
	for _, c := range []struct{ memory, shm, want int64 }{
		{0, 0, 1 << 30},
		{8 << 30, 0, 1 << 30},
		{512 << 20, 0, 256 << 20},
		{0, 3 << 30, 3 << 30},
		{512 << 20, 64 << 20, 64 << 20},
		{512 << 20, 512 << 20, 512 << 20},
	} {
		if got := boundsOf(orchestrator.ContainerSpec{Limits: orchestrator.Limits{MemoryBytes: c.memory, ShmBytes: c.shm}}, machine{}).shmSize(machine{}); got != c.want {
			t.Errorf("with %d bytes of memory and %d set: %d; want %d", c.memory, c.shm, got, c.want)
		}
	}
}

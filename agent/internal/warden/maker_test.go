package warden

import (
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/berth-go/berth/internal/test/testenv"
)

// noGroups lets a maker of rooms stay in the cgroup of the test.
type noGroups struct{ cgroups }

func (noGroups) porch() (tasks []string, into string) { return nil, "" }

// TestTheMakerOfRoomsStartsWhateverIsOpen: package syscall moves descriptors on their way to a child, also to one that the program was
// to be executed by.
func TestTheMakerOfRoomsStartsWhateverIsOpen(t *testing.T) {
	if os.Getuid() != 0 {
		testenv.Missing(t, "needs root, to enter namespaces")
	}
	c, err := newTrial()
	must(t, err)
	defer c.close()
	c.groups = noGroups{}
	profile, err := memfd("profile", []byte("{}"))
	must(t, err)
	defer profile.Close()
	for at := 55; at < 75; at++ {
		dup, _, e := syscall.Syscall(syscall.SYS_FCNTL, profile.Fd(), syscall.F_DUPFD_CLOEXEC, uintptr(at))
		if e != 0 {
			t.Fatal(e)
		}
		c.profile = os.NewFile(dup, "profile")
		h, err := c.startHelper()
		if err != nil {
			t.Errorf("with a profile of descriptor %d: %v", dup, err)
		} else {
			c.helper = h
			c.retire()
		}
		c.profile.Close()
	}
	runtime.KeepAlive(profile)
}

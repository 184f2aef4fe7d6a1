package warden

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A status is the content of a file /proc/PID/status, by the names of its lines.
type status map[string]string

func readStatus(pid int) (status, error) {
	text, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return nil, err
	}
	return parseStatus(string(text)), nil
}

func parseStatus(text string) status {
	s := make(status)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			s[name] = strings.TrimSpace(value)
		}
	}
	return s
}

// pids returns the process's pid in each pid namespace that it is in, the outermost first.
func (s status) pids() (pids []int) {
	for _, f := range strings.Fields(s["NSpid"]) {
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil
		}
		pids = append(pids, n)
	}
	return pids
}

// caps returns a set of capabilities, by the name of its line.
func (s status) caps(name string) (uint64, error) {
	n, err := strconv.ParseUint(s[name], 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%s of a process: %w", name, err)
	}
	return n, nil
}

// rights are the lines that say what a process may do. Two processes with the same lines may do the same, apart from their
// users.
var rights = []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"}

// sameRights returns an error if two processes may not do the same. The second one may have more seccomp filters of the warden.
func sameRights(a, b status, more int) error {
	for _, name := range rights {
		want := a[name]
		switch n, err := strconv.Atoi(want); {
		case more == 0 || err != nil:
		case name == "Seccomp":
			want = "2" // filtered
		case name == "Seccomp_filters":
			want = strconv.Itoa(n + more)
		}
		if want != b[name] {
			return fmt.Errorf("%s of the room is %q, of its container %q", name, b[name], want)
		}
	}
	return nil
}

package proc

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// oomKills returns how often the kernel killed a process of this container because the container or the machine had run out of
// memory. It returns 0 if the container cannot see that.
func oomKills() int64 {
	n, _ := readOOMKills(OOMFile())
	return n
}

// OOMFile returns the file that counts them; "" = there is none.
var OOMFile = sync.OnceValue(func() string {
	own, _ := os.ReadFile("/proc/self/cgroup")
	for _, path := range oomFiles(string(own)) {
		if _, ok := readOOMKills(path); ok {
			return path
		}
	}
	return ""
})

// oomFiles returns where the count may be, by /proc/self/cgroup. A container sees its own cgroup as the root, or, without
// a cgroup namespace of its own, below the path that it has on the machine.
func oomFiles(own string) (paths []string) {
	const root = "/sys/fs/cgroup"
	for line := range strings.Lines(own) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3) // "4:memory:/docker/…", "0::/…"
		if len(fields) < 3 {
			continue
		}
		below := strings.TrimSuffix(fields[2], "/")
		switch fields[1] {
		case "memory": // version 1
			paths = append(paths, root+"/memory"+below+"/memory.oom_control", root+"/memory/memory.oom_control")
		case "": // version 2
			paths = append(paths, root+below+"/memory.events", root+"/memory.events")
		}
	}
	return paths
}

// readOOMKills reads the count from a file that has it in a line "oom_kill 3".
func readOOMKills(path string) (n int64, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	return parseOOMKills(string(text))
}

// OOMKills returns the count of a file that OOMFile has named, perhaps in another process; 0 if the file is nil or gone.
func OOMKills(file *os.File) int64 {
	buf := make([]byte, 4<<10) // memory.events has six lines
	n, _ := file.ReadAt(buf, 0)
	count, _ := parseOOMKills(string(buf[:max(n, 0)]))
	return count
}

func parseOOMKills(text string) (n int64, ok bool) {
	for line := range strings.Lines(text) {
		if count, found := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); found {
			n, err := strconv.ParseInt(count, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

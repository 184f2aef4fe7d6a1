package peers

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/moby/client"
)

func ids(tasks []*task) (ids []string) {
	for _, t := range tasks {
		ids = append(ids, t.container)
	}
	return ids
}

// diskOfWork returns what the checkouts of containers take.
func (b *bench) diskOfWork(tasks []*task) (size int64) {
	for _, t := range tasks {
		size += b.du(t.container, "/work")
	}
	return size
}

// du returns the size of directories in a container.
func (b *bench) du(id string, paths ...string) (size int64) {
	var out bytes.Buffer
	b.exec(id, &out, append([]string{"du", "-sk"}, paths...)...)
	for line := range strings.Lines(out.String()) {
		kilobytes, _, _ := strings.Cut(line, "\t")
		n, err := strconv.ParseInt(kilobytes, 10, 64)
		b.check(err)
		size += n << 10
	}
	return size
}

// memory returns the memory of all processes of containers and of the shims that hold them, in bytes. A page that several
// processes share counts once. It is 0 where /proc does not say, as with an engine on another machine.
func memory(b *bench, ids []string) (size int64) {
	pids := map[string]bool{}
	for _, id := range ids {
		found, err := b.docker.ContainerInspect(b.ctx, id, client.ContainerInspectOptions{})
		b.check(err)
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", found.Container.State.Pid)); err == nil {
			if parent := parentOf.FindSubmatch(status); parent != nil {
				pids[string(parent[1])] = true
			}
		}
		top, err := b.docker.ContainerTop(b.ctx, id, client.ContainerTopOptions{Arguments: []string{"-eo", "pid"}})
		b.check(err)
		for _, process := range top.Processes {
			pids[process[0]] = true
		}
	}
	for pid := range pids {
		rollup, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		if err != nil {
			continue
		}
		if m := pss.FindSubmatch(rollup); m != nil {
			kilobytes, _ := strconv.ParseInt(string(m[1]), 10, 64)
			size += kilobytes << 10
		}
	}
	return size
}

var (
	parentOf = regexp.MustCompile(`(?m)^PPid:\s+(\d+)`)
	pss      = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)
)

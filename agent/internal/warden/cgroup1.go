package warden

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/berth-go/berth/agent/internal/room"
)

// cgroup1 is version 1: one hierarchy for each controller, and maybe one of version 2 without controllers.
type cgroup1 struct {
	files
	list []hierarchy
}

func newCgroup1(f files, list []hierarchy) *cgroup1 { return &cgroup1{files: f, list: list} }

// own are the controllers of which a room has a cgroup of its own. In the other hierarchies it stays in the container's.
var own = []string{"memory", "cpu", "pids"}

func (h hierarchy) ofRooms() bool {
	for _, c := range own {
		if h.has(c) {
			return true
		}
	}
	return false
}

func (c *cgroup1) version() int { return 1 }

func (c *cgroup1) has(controller string) bool {
	for _, h := range c.list {
		if h.has(controller) {
			return true
		}
	}
	return false
}

func (c *cgroup1) make(id string, l room.Limits) (err error) {
	for i, h := range c.list {
		if !h.ofRooms() {
			continue
		}
		if err := makeGroup(c.files, filepath.Join(h.dir, roomPrefix+id), settings1(h, l)); err != nil {
			for _, made := range c.list[:i] {
				if made.ofRooms() {
					err = errors.Join(err, c.rmdir(filepath.Join(made.dir, roomPrefix+id)))
				}
			}
			return err
		}
	}
	return nil
}

// settings1 returns the settings of a room's cgroup in one hierarchy.
func settings1(h hierarchy, l room.Limits) (s []setting) {
	if h.has("memory") && l.MemoryBytes > 0 {
		bytes := strconv.FormatInt(l.MemoryBytes, 10)
		s = append(s, setting{file: "memory.limit_in_bytes", value: bytes},
			setting{file: "memory.memsw.limit_in_bytes", value: bytes, optional: true}, // takes no less than the other
			// What waits in sockets counts apart, and only if there is a limit.
			setting{file: "memory.kmem.tcp.limit_in_bytes", value: strconv.FormatInt(l.MemoryBytes/socketPart, 10), optional: true})
	}
	if h.has("cpu") && l.CPUWeight > 0 {
		s = append(s, setting{file: "cpu.shares", value: strconv.Itoa(max(2, l.CPUWeight*usualShares/usualWeight))})
	}
	if h.has("pids") && l.PIDs > 0 {
		s = append(s, setting{file: "pids.max", value: strconv.FormatInt(l.PIDs, 10)})
	}
	return s
}

// socketPart is the part of a room's memory that may wait in its sockets besides: an eighth.
const socketPart = 8

// The parts of the CPU that a cgroup has unless told otherwise.
const (
	usualShares = 1024 // version 1
	maxShares   = 262144
	usualWeight = 100 // version 2
	maxWeight   = 10000
)

func (c *cgroup1) place(id string) (tasks []string, into string) {
	for _, h := range c.list {
		if h.ofRooms() {
			tasks = append(tasks, filepath.Join(h.dir, roomPrefix+id, "tasks"))
		}
	}
	return tasks, ""
}

func (c *cgroup1) porch() (tasks []string, into string) {
	for _, h := range c.list {
		switch {
		case h.name == "":
			into = h.dir
		case !h.ofRooms():
			tasks = append(tasks, filepath.Join(h.dir, "tasks"))
		}
	}
	return tasks, into
}

func (c *cgroup1) procs(id string) []int {
	var pids []int
	for _, h := range c.list {
		if h.ofRooms() {
			pids = append(pids, procsOf(c.files, filepath.Join(h.dir, roomPrefix+id))...)
		}
	}
	return pids
}

// procsOf returns the processes in a cgroup.
func procsOf(f files, dir string) (pids []int) {
	text, _ := f.read(filepath.Join(dir, "cgroup.procs"))
	for _, field := range strings.Fields(text) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (c *cgroup1) remove(id string) error {
	var failed []error
	for _, h := range c.list {
		if h.ofRooms() {
			failed = append(failed, removeGroup(c.files, filepath.Join(h.dir, roomPrefix+id)))
		}
	}
	return errors.Join(failed...)
}

func (c *cgroup1) rooms() (ids []string) {
	seen := make(map[string]bool)
	for _, h := range c.list {
		if !h.ofRooms() {
			continue
		}
		for _, id := range roomsIn(c.files, h.dir) {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

func (c *cgroup1) share(rooms int) error {
	for _, h := range c.list {
		if h.has("cpu") {
			shares := min(max(rooms, 1)*usualShares, maxShares)
			if err := c.write(filepath.Join(h.dir, "cpu.shares"), strconv.Itoa(shares)); err != nil {
				return fmt.Errorf("the container's part of the CPU: %w", err)
			}
		}
	}
	return nil
}

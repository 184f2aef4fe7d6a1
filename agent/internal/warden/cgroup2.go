package warden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-go/berth/agent/internal/room"
)

// cgroup2 is version 2: one hierarchy. A cgroup whose children have controllers holds no processes itself, so those of the
// container are moved to a leaf below it.
type cgroup2 struct {
	files
	dir         string // of the container's cgroup
	controllers []string
}

// leaf is the cgroup of the container's processes that are in no room.
const leaf = "berth-agent"

// openCgroup2 gets the container's cgroup ready for rooms. dir is the cgroup of the container's first process.
//
// A process that an engine starts in the container later (docker exec) goes to the cgroup of the first process: runc does that
// when the container's own cgroup takes none.
func openCgroup2(f files, dir string) (*cgroup2, error) {
	if filepath.Base(dir) == leaf { // an earlier warden has moved it
		dir = filepath.Dir(dir)
	}
	c := &cgroup2{files: f, dir: dir}
	available, err := f.read(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	var enable []string
	for _, name := range strings.Fields(available) {
		if slices.Contains(own, name) {
			c.controllers = append(c.controllers, name)
			enable = append(enable, "+"+name)
		}
	}
	if err := f.mkdir(filepath.Join(dir, leaf)); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	// A process may fork while the others are moved.
	for range 100 {
		if err := c.vacate(); err != nil {
			return nil, err
		}
		if len(enable) == 0 {
			return c, nil
		}
		err = f.write(filepath.Join(dir, "cgroup.subtree_control"), strings.Join(enable, " "))
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the container's controllers: %w", err)
	}
	return c, nil
}

// vacate moves the processes of the container's cgroup to the leaf.
func (c *cgroup2) vacate() error {
	for _, pid := range procsOf(c.files, c.dir) {
		err := c.write(filepath.Join(c.dir, leaf, "cgroup.procs"), strconv.Itoa(pid))
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

func (c *cgroup2) room(id string) string      { return filepath.Join(c.dir, roomPrefix+id) }
func (c *cgroup2) version() int               { return 2 }
func (c *cgroup2) has(controller string) bool { return slices.Contains(c.controllers, controller) }

func (c *cgroup2) make(id string, l room.Limits) error {
	return makeGroup(c.files, c.room(id), c.settings(l))
}

func (c *cgroup2) settings(l room.Limits) (s []setting) {
	if c.has("memory") && l.MemoryBytes > 0 {
		s = append(s,
			setting{file: "memory.max", value: strconv.FormatInt(l.MemoryBytes, 10)},
			setting{file: "memory.swap.max", value: "0", optional: true},
			setting{file: "memory.oom.group", value: "0", optional: true})
	}
	if c.has("cpu") && l.CPUWeight > 0 {
		s = append(s, setting{file: "cpu.weight", value: strconv.Itoa(min(l.CPUWeight, maxWeight))})
	}
	if c.has("pids") && l.PIDs > 0 {
		s = append(s, setting{file: "pids.max", value: strconv.FormatInt(l.PIDs, 10)})
	}
	return s
}

func (c *cgroup2) place(id string) (tasks []string, into string) { return nil, c.room(id) }
func (c *cgroup2) porch() (tasks []string, into string)          { return nil, "" }

func (c *cgroup2) procs(id string) []int  { return procsOf(c.files, c.room(id)) }
func (c *cgroup2) remove(id string) error { return removeGroup(c.files, c.room(id)) }
func (c *cgroup2) rooms() []string        { return roomsIn(c.files, c.dir) }

func (c *cgroup2) share(rooms int) error {
	if !c.has("cpu") {
		return nil
	}
	weight := min(max(rooms, 1)*usualWeight, maxWeight)
	if err := c.write(filepath.Join(c.dir, "cpu.weight"), strconv.Itoa(weight)); err != nil {
		return fmt.Errorf("the container's part of the CPU: %w", err)
	}
	return nil
}

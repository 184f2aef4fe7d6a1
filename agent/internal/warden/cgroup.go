package warden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/room"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	roomPrefix = "room-" // of the cgroup of a room, followed by the room's ID

	// cgroupGrace is how long the kernel may take to empty the cgroup of processes that have been killed.
	cgroupGrace = 5 * time.Second
)

// cgroups are those of a container. Rooms are made below them. It is safe for concurrent use; one room is made or removed at
// a time by its caller.
type cgroups interface {
	// version is 1 or 2.
	version() int
	// has reports whether rooms have a controller of their own: memory, cpu or pids.
	has(controller string) bool
	// make makes the cgroup of a room. An error leaves nothing behind.
	make(id string, l room.Limits) error
	// place says where the processes of a room belong: first the files that a thread writes "0" to, so that it and its children are
	// there, then the directory of the hierarchy where only a new process can be put into a cgroup. Either may be empty.
	place(id string) (tasks []string, into string)
	// porch says the same for the process that makes rooms. It is in the container's cgroups as far as they bound nothing.
	porch() (tasks []string, into string)
	// procs returns the processes in the cgroup of a room.
	procs(id string) []int
	// remove removes the cgroup of a room, which has no processes any more. To remove one that is not there succeeds.
	remove(id string) error
	// rooms returns the IDs of the rooms that have a cgroup.
	rooms() []string
	// share gives the container the part of the CPU that so many rooms have.
	share(rooms int) error
}

// A hierarchy is one hierarchy of cgroups.
type hierarchy struct {
	name string // the controllers, "name=systemd", or "" for version 2
	dir  string // of the container's cgroup
}

// has reports whether the hierarchy is one of version 1 with a controller.
func (h hierarchy) has(controller string) bool {
	return slices.Contains(strings.Split(h.name, ","), controller)
}

// openCgroups finds the cgroups of a container by its first process. root is where they are mounted.
func openCgroups(root string, pid int) (cgroups, error) {
	text, err := os.ReadFile(procPath(pid, "cgroup"))
	if err != nil {
		return nil, err
	}
	list, err := hierarchies(root, string(text))
	if err != nil {
		return nil, err
	}
	if len(list) == 1 && list[0].name == "" {
		return openCgroup2(osFiles{}, list[0].dir)
	}
	return newCgroup1(osFiles{}, list), nil
}

// hierarchies returns the hierarchies of a process by the content of its file /proc/PID/cgroup. Those that are not mounted below
// root are left out.
func hierarchies(root, text string) (list []hierarchy, err error) {
	_, err = os.Stat(filepath.Join(root, "cgroup.controllers"))
	unified := err == nil
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // "4:memory:/docker/…", "0::/docker/…"
		if len(fields) < 3 {
			return nil, fmt.Errorf("cannot understand the cgroup %q", line)
		}
		h := hierarchy{name: fields[1]}
		mounted := filepath.Join(root, strings.TrimPrefix(h.name, "name="))
		switch {
		case h.name == "" && !unified:
			mounted = filepath.Join(root, "unified")
		case h.name != "" && unified:
			continue
		}
		if _, err := os.Stat(mounted); err != nil {
			continue
		}
		path := fields[2]
		if path == "/" || !strings.HasPrefix(path, "/") || slices.Contains(strings.Split(path, "/"), "..") {
			return nil, fmt.Errorf("the process is in the cgroup %q of %q, which is not a container's", path, h.name)
		}
		h.dir = filepath.Join(mounted, path)
		list = append(list, h)
	}
	if len(list) == 0 {
		return nil, errors.New("no cgroups are mounted in " + root)
	}
	return list, nil
}

// files are operations on cgroups.
type files interface {
	read(path string) (string, error)
	write(path, value string) error
	mkdir(path string) error
	rmdir(path string) error
	list(path string) []string // the directories in a directory
}

// A setting is a value of a cgroup's file.
type setting struct {
	file, value string
	optional    bool // a kernel may lack the file
}

// makeGroup makes a cgroup with settings. It replaces an empty one that an earlier room left.
func makeGroup(f files, dir string, settings []setting) error {
	err := f.mkdir(dir)
	if errors.Is(err, syscall.EEXIST) {
		if err := f.rmdir(dir); err != nil {
			return fmt.Errorf("the room is open already: %w", err)
		}
		err = f.mkdir(dir)
	}
	if err != nil {
		return err
	}
	for _, s := range settings {
		err := f.write(filepath.Join(dir, s.file), s.value)
		if err != nil && !(s.optional && errors.Is(err, os.ErrNotExist)) {
			return errors.Join(err, f.rmdir(dir))
		}
	}
	return nil
}

// removeGroup removes a cgroup. Processes that end are in it for a moment longer.
func removeGroup(f files, dir string) error {
	pause := 200 * time.Microsecond
	for deadline := time.Now().Add(cgroupGrace); ; pause = min(2*pause, 50*time.Millisecond) {
		err := f.rmdir(dir)
		if err == nil || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pause)
	}
}

// roomsIn returns the IDs of the rooms whose cgroups are in a directory.
func roomsIn(f files, dir string) (ids []string) {
	for _, name := range f.list(dir) {
		if id, ok := strings.CutPrefix(name, roomPrefix); ok && id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// osFiles are the operations on the real file system.
type osFiles struct{}

func (osFiles) read(path string) (string, error) {
	text, err := os.ReadFile(path)
	return string(text), err
}

func (osFiles) write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func (osFiles) mkdir(path string) error { return os.Mkdir(path, 0o755) }
func (osFiles) rmdir(path string) error {
	if err := syscall.Rmdir(path); err != nil {
		return &os.PathError{Op: "rmdir", Path: path, Err: err}
	}
	return nil
}

func (osFiles) list(path string) (names []string) {
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

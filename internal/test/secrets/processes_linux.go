package secrets

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Process is one that was seen in a container, from this machine.
type Process struct {
	PID, UID int
	Name     string
	Args     []string
}

// Processes watches the processes of some containers from outside, by this machine's /proc. It needs root.
type Processes struct {
	search  *Search
	allowed func(p Process, secret string) bool
	stop    func()

	mu   sync.Mutex     // protects seen
	seen map[string]int // how often, by name and uid
}

// listEvery is how often WatchProcesses asks for the containers.
const listEvery = 50 * time.Millisecond

// WatchProcesses looks at the processes of containers, by their IDs, until Stop. allowed says which secrets a process has
// in its environment by design. No process has one among its arguments.
func (s *Search) WatchProcesses(containers func() []string, allowed func(p Process, secret string) bool) *Processes {
	w := &Processes{search: s, allowed: allowed, seen: make(map[string]int)}
	over := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		var ids []string
		others := make(map[string]bool) // processes that were seen outside the containers
		for listed := (time.Time{}); ; {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			if time.Since(listed) > listEvery {
				ids, listed = containers(), time.Now()
				clear(others)
			}
			w.look(ids, others)
		}
	})
	w.stop = sync.OnceFunc(func() {
		close(over)
		done.Wait()
	})
	return w
}

// Stop ends the watch.
func (w *Processes) Stop() { w.stop() }

// Seen returns how often a program was seen under a uid.
func (w *Processes) Seen(name string, uid int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[fmt.Sprint(name, " ", uid)]
}

// All describes what was seen.
func (w *Processes) All() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprint(w.seen)
}

func (w *Processes) look(containers []string, others map[string]bool) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if others[dir] || !within(dir, containers) {
			others[dir] = true
			continue
		}
		// A process may execute its program between two reads. Its environment counts for what it was before and after.
		before, ok := describe(dir)
		env, err := os.ReadFile(dir + "/environ")
		after, still := describe(dir)
		if !ok || !still || err != nil || before.UID != after.UID || before.Name != after.Name {
			continue
		}
		w.mu.Lock()
		w.seen[fmt.Sprint(after.Name, " ", after.UID)]++
		w.mu.Unlock()
		where := fmt.Sprintf("%q of uid %d", after.Args, after.UID)
		w.search.Look("a process's arguments", where, []byte(strings.Join(after.Args, "\x00")))
		w.search.LookBut("a process's environment", where, env, func(secret string) bool { return w.allowed(after, secret) })
	}
}

// within reports whether a process is in one of the containers.
func within(dir string, containers []string) bool {
	cgroups, err := os.ReadFile(dir + "/cgroup")
	return err == nil && slices.ContainsFunc(containers, func(id string) bool { return bytes.Contains(cgroups, []byte(id)) })
}

func describe(dir string) (p Process, ok bool) {
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return p, false
	}
	p.PID, _ = strconv.Atoi(filepath.Base(dir))
	for line := range strings.Lines(string(status)) {
		switch name, value, _ := strings.Cut(line, ":"); name {
		case "Name":
			p.Name = strings.TrimSpace(value)
		case "Uid":
			fmt.Sscan(value, &p.UID)
		}
	}
	args, err := os.ReadFile(dir + "/cmdline")
	p.Args = strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
	return p, err == nil
}

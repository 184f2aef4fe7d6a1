package hostboottest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Stop ends the machine like a power failure, and removes all of it.
func (m *Machine) Stop() error { return m.stop() }

func (m *Machine) end() error {
	m.mu.Lock()
	m.stopped = true
	started := m.cmd != nil
	m.mu.Unlock()
	if started {
		m.kill()
		<-m.ended
	}
	if m.closeMetadata != nil {
		m.closeMetadata()
	}
	var errs []error
	if m.outer != "" {
		// Remove it at once: the network itself is removed later, and the next machine may have this address.
		exec.Command("ip", "link", "delete", m.outer).Run()
		exec.Command("ip", "netns", "delete", m.netns+"-imds").Run()
		if out, err := exec.Command("ip", "netns", "delete", m.netns).CombinedOutput(); err != nil && started {
			errs = append(errs, fmt.Errorf("removing the machine's network: %w: %s", err, out))
		}
	}
	errs = append(errs, m.awaitProcesses(), m.removeGroups())
	// Nothing has removed the control groups of its containers.
	containers, _ := filepath.Glob(m.dir + "/docker/containers/*")
	for _, container := range containers {
		for _, pattern := range []string{"/sys/fs/cgroup/docker/", "/sys/fs/cgroup/*/docker/"} {
			groups, _ := filepath.Glob(pattern + filepath.Base(container))
			for _, group := range groups {
				rooms, _ := filepath.Glob(group + "/room-*") // of its sessions
				for _, inner := range append(rooms, group) {
					os.Remove(inner)
				}
			}
			m.groups = append(m.groups, groups...)
		}
	}
	m.keepTexts()
	return errors.Join(append(errs, os.RemoveAll(m.dir))...)
}

func (m *Machine) keepTexts() {
	texts := make(map[string]string)
	for _, name := range logs {
		texts[name] = m.read(name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.texts = texts
}

// kill ends process 1, and so all others.
func (m *Machine) kill() {
	if pid, err := strconv.Atoi(m.init()); err == nil {
		syscall.Kill(pid, syscall.SIGKILL) // must be done before its parent ends
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cmd.Process.Kill()
}

// goneTimeout is how long killed processes may take to end.
const goneTimeout = 10 * time.Second

// awaitProcesses waits until all of the machine's processes have ended. The one that watches the pipe ends last.
func (m *Machine) awaitProcesses() error {
	ctx, cancel := context.WithTimeout(context.Background(), goneTimeout)
	defer cancel()
	err := poll(ctx, func() (bool, error) { return len(m.processes()) == 0, nil })
	if err != nil {
		return fmt.Errorf("processes of the machine do not end: %s: %w", strings.Join(m.processes(), ", "), err)
	}
	return nil
}

// processes returns the IDs of the processes with the machine's name in their environment.
func (m *Machine) processes() (pids []string) {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environments {
		if text, _ := os.ReadFile(path); strings.Contains(string(text), "MACHINE="+m.dir+"\x00") {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

// removeGroups removes the control groups of a machine with systemd, while its processes end.
func (m *Machine) removeGroups() error {
	tops, _ := filepath.Glob("/sys/fs/cgroup/*/" + m.netns)
	tops = append(tops, "/sys/fs/cgroup/"+m.netns)
	var errs []error
	for _, top := range tops {
		var groups []string
		filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		for _, group := range slices.Backward(groups) { // inner groups first
			ctx, cancel := context.WithTimeout(context.Background(), goneTimeout)
			errs = append(errs, poll(ctx, func() (bool, error) {
				err := os.Remove(group)
				if errors.Is(err, syscall.EBUSY) {
					return false, nil
				}
				return err == nil, err
			}))
			cancel()
		}
		m.groups = append(m.groups, groups...)
	}
	return errors.Join(errs...)
}

// Left lists the remains of a machine. After Stop has returned, there must be none.
func (m *Machine) Left() (left []string) {
	if _, err := os.Stat(m.dir); err == nil {
		left = append(left, m.dir)
	}
	for _, path := range append([]string{"/run/netns/" + m.netns, "/run/netns/" + m.netns + "-imds", "/sys/class/net/" + m.outer}, m.groups...) {
		if _, err := os.Stat(path); err == nil {
			left = append(left, path)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, m.netns) {
			left = append(left, "the mount "+strings.TrimSpace(line))
		}
	}
	for _, pid := range m.processes() {
		left = append(left, "the process "+pid)
	}
	return left
}

package hostboottest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Stop ends the machine as a cut of its power does, and removes all of it.
func (m *Machine) Stop() error { return m.stop() }

func (m *Machine) end() error {
	if m.cmd != nil {
		if pid, err := strconv.Atoi(m.init()); err == nil {
			syscall.Kill(pid, syscall.SIGKILL) // and with process 1 all others, before unshare ends
		} else {
			m.cmd.Process.Kill()
		}
		<-m.ended
	}
	var errs []error
	if m.outer != "" {
		// At once: the network itself goes later, and the next machine may have this address.
		exec.Command("ip", "link", "delete", m.outer).Run()
		if out, err := exec.Command("ip", "netns", "delete", m.netns).CombinedOutput(); err != nil && m.cmd != nil {
			errs = append(errs, fmt.Errorf("removing the machine's network: %w: %s", err, out))
		}
	}
	// Nobody was left to remove the control groups of its containers.
	containers, _ := filepath.Glob(m.dir + "/docker/containers/*")
	for _, container := range containers {
		for _, pattern := range []string{"/sys/fs/cgroup/docker/", "/sys/fs/cgroup/*/docker/"} {
			groups, _ := filepath.Glob(pattern + filepath.Base(container))
			for _, group := range groups {
				os.Remove(group)
			}
			m.groups = append(m.groups, groups...)
		}
	}
	return errors.Join(append(errs, os.RemoveAll(m.dir))...)
}

// Left returns what there still is of a machine: after Stop, which must have returned, nothing.
func (m *Machine) Left() (left []string) {
	if _, err := os.Stat(m.dir); err == nil {
		left = append(left, m.dir)
	}
	for _, path := range append([]string{"/run/netns/" + m.netns, "/sys/class/net/" + m.outer}, m.groups...) {
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
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environments {
		if text, _ := os.ReadFile(path); strings.Contains(string(text), "MACHINE="+m.dir+"\x00") {
			left = append(left, "the process "+filepath.Base(filepath.Dir(path)))
		}
	}
	return left
}

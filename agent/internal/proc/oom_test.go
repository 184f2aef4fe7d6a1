package proc

import (
	"slices"
	"testing"
)

func TestOOMKillsAreFound(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want int64
		ok   bool
	}{
		"version 1":             {"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 3, true},
		"version 1 before 4.13": {"oom_kill_disable 0\nunder_oom 0\n", 0, false},
		"version 2":             {"low 0\nhigh 0\nmax 812\noom 4\noom_kill 2\noom_group_kill 0\n", 2, true},
		"empty":                 {"", 0, false},
		"no number":             {"oom_kill many\n", 0, false},
	} {
		if got, ok := parseOOMKills(test.text); got != test.want || ok != test.ok {
			t.Errorf("%s: %d, %v; want %d, %v", name, got, ok, test.want, test.ok)
		}
	}
}

func TestOOMFilesAreThoseOfTheContainer(t *testing.T) {
	for name, test := range map[string]struct {
		own  string
		want []string
	}{
		"version 1": {"5:devices:/docker/ab\n4:memory:/docker/ab\n", []string{
			"/sys/fs/cgroup/memory/docker/ab/memory.oom_control", "/sys/fs/cgroup/memory/memory.oom_control"}},
		"version 2, a namespace of its own": {"0::/\n", []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory.events"}},
		"version 2, the machine's":          {"0::/system.slice/docker-ab.scope\n", []string{"/sys/fs/cgroup/system.slice/docker-ab.scope/memory.events", "/sys/fs/cgroup/memory.events"}},
		"none":                              {"", nil},
		"unreadable":                        {"words\n", nil},
	} {
		if got := oomFiles(test.own); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q; want %q", name, got, test.want)
		}
	}
}

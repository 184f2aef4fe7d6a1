package warden

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// A profile is what the processes of a container may do: as much as its first process. The warden reads it once, and
// a room's first process starts with it.
type profile struct {
	Bounding, Permitted, Effective, Inheritable uint64 // capabilities

	Filters []filter // of seccomp, in the order in which they were installed
	Limits  map[int]syscall.Rlimit
	OOM     string // oom_score_adj

	Apparmor string // the label, "" = not confined by AppArmor
	Selinux  string // the label, "" = no SELinux

	// SpecAllow is set if the processes run without the CPU mitigations that a seccomp filter may turn on.
	SpecAllow bool
}

// readProfile reads what a process may do. It stops the process for a moment to read its filters.
func readProfile(pid int) (*profile, error) {
	s, err := readStatus(pid)
	if err != nil {
		return nil, err
	}
	p := &profile{SpecAllow: !strings.Contains(s["Speculation_Store_Bypass"], "mitigated")}
	for name, set := range map[string]*uint64{"CapBnd": &p.Bounding, "CapPrm": &p.Permitted, "CapEff": &p.Effective, "CapInh": &p.Inheritable} {
		if *set, err = s.caps(name); err != nil {
			return nil, err
		}
	}
	if s["CapAmb"] != strings.Repeat("0", len(s["CapAmb"])) {
		return nil, errors.New("the container's first process has ambient capabilities")
	}
	if s["NoNewPrivs"] != "1" {
		return nil, errors.New("the container was started without no-new-privileges")
	}
	switch s["Seccomp"] {
	case "0":
	case "2":
		if p.Filters, err = readFilters(pid); err != nil {
			return nil, fmt.Errorf("the container's seccomp filters cannot be read: %w", err)
		}
		if n := s["Seccomp_filters"]; n != "" && n != fmt.Sprint(len(p.Filters)) {
			return nil, fmt.Errorf("the container has %s seccomp filters, of which %d can be read", n, len(p.Filters))
		}
	default:
		return nil, fmt.Errorf("the container's seccomp mode is %q", s["Seccomp"])
	}
	if p.Limits, err = readLimits(pid); err != nil {
		return nil, err
	}
	oom, err := os.ReadFile(procPath(pid, "oom_score_adj"))
	if err != nil {
		return nil, err
	}
	p.OOM = strings.TrimSpace(string(oom))
	return p, p.readLabel(pid)
}

// readLabel reads the label of the security module that confines the process.
func (p *profile) readLabel(pid int) error {
	if label, err := os.ReadFile(procPath(pid, "attr/apparmor/current")); err == nil {
		name, _, _ := strings.Cut(strings.TrimRight(string(label), "\x00\n"), " (")
		if name != "unconfined" {
			p.Apparmor = name
		}
		return nil
	}
	label, err := os.ReadFile(procPath(pid, "attr/current"))
	if err != nil {
		return nil // there is no such module
	}
	text := strings.TrimRight(string(label), "\x00\n")
	switch name, _, _ := strings.Cut(text, " ("); {
	case name == "" || name == "unconfined":
	case strings.Count(text, ":") >= 3:
		p.Selinux = text
	case strings.HasSuffix(text, ")"):
		p.Apparmor = name
	default:
		return fmt.Errorf("the container is confined by a security module of an unknown kind: %q", text)
	}
	return nil
}

// label returns what the security module says of a process; "" = there is no such module.
func label(pid int) string {
	text, _ := os.ReadFile(procPath(pid, "attr/current"))
	return strings.TrimRight(string(text), "\x00\n")
}

// resources is the number of kinds of RLIMIT_*.
const resources = 16

func readLimits(pid int) (map[int]syscall.Rlimit, error) {
	limits := make(map[int]syscall.Rlimit, resources)
	for i := range resources {
		var l syscall.Rlimit
		if _, err := call("prlimit", syscall.SYS_PRLIMIT64, uintptr(pid), uintptr(i), 0, uintptr(unsafe.Pointer(&l))); err != nil {
			return nil, err
		}
		limits[i] = l
	}
	return limits, nil
}

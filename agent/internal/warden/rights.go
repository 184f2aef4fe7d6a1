package warden

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// setOOM makes the kernel choose the process as it chooses the container's first process when memory runs out. Without
// CAP_SYS_RESOURCE the value cannot be lowered: best effort.
func (p *profile) setOOM() {
	fd, err := syscall.Open("/proc/thread-self/oom_score_adj", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err == nil {
		syscall.Write(fd, []byte(p.OOM))
		syscall.Close(fd)
	}
}

// setLabel sets the security module's label of the programs that the calling thread and its children execute.
func (p *profile) setLabel() error {
	files, text := []string{"attr/apparmor/exec", "attr/exec"}, "exec "+p.Apparmor
	switch {
	case p.Apparmor != "":
	case p.Selinux != "":
		files, text = files[1:], p.Selinux
	default:
		return nil
	}
	var err error
	for _, name := range files {
		var fd int
		if fd, err = syscall.Open("/proc/thread-self/"+name, syscall.O_WRONLY|syscall.O_CLOEXEC, 0); err != nil {
			continue
		}
		_, err = syscall.Write(fd, []byte(text))
		syscall.Close(fd)
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("the label of the security module: %w", err)
}

// steps returns the steps that give up all that the profile lacks. The filters come last, since they may forbid the others.
func (p *profile) steps(s *script) error {
	const capAmbient, ambientClear, setNoNewPrivs = 47, 4, 38
	s.add("setsid", syscall.SYS_SETSID)
	if err := p.boundingSteps(s); err != nil {
		return err
	}
	s.add("clearing ambient capabilities", syscall.SYS_PRCTL, capAmbient, ambientClear, 0, 0, 0)
	header := &struct {
		version uint32
		pid     int32
	}{version: 0x20080522}
	data := new([2]struct{ effective, permitted, inheritable uint32 })
	for i := range data {
		shift := 32 * i
		data[i].effective = uint32(p.Effective >> shift)
		data[i].permitted = uint32(p.Permitted >> shift)
		data[i].inheritable = uint32(p.Inheritable >> shift)
	}
	s.keep = append(s.keep, header, data)
	s.add("giving up capabilities", syscall.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(data)))
	s.add("setting no_new_privs", syscall.SYS_PRCTL, setNoNewPrivs, 1)
	for _, f := range p.Filters {
		if err := f.step(s, p.SpecAllow); err != nil {
			return err
		}
	}
	return nil
}

// boundingSteps leaves the bounding set of the profile.
func (p *profile) boundingSteps(s *script) error {
	const capbsetRead, capbsetDrop = 23, 24
	for n := uintptr(0); n < 64; n++ {
		has, err := call("prctl", syscall.SYS_PRCTL, capbsetRead, n)
		if err != nil {
			return nil // the kernel has no more
		}
		wanted := p.Bounding&(1<<n) != 0
		if wanted && has == 0 {
			return fmt.Errorf("the warden lacks capability %d of the container", n)
		}
		if !wanted && has == 1 {
			s.add("dropping capabilities", syscall.SYS_PRCTL, capbsetDrop, n)
		}
	}
	return nil
}

// setLimits sets the resource limits. One that is higher than the warden's own stays at the warden's.
func (p *profile) setLimits() error {
	const files = syscall.RLIMIT_NOFILE
	for resource, l := range p.Limits {
		var own syscall.Rlimit
		if err := syscall.Getrlimit(resource, &own); err != nil {
			return os.NewSyscallError("getrlimit", err)
		}
		l.Max = min(l.Max, own.Max)
		l.Cur = min(l.Cur, l.Max)
		if l == own && resource != files { // package syscall gives children the old number of files unless it is set
			continue
		}
		if err := syscall.Setrlimit(resource, &l); err != nil {
			return fmt.Errorf("resource limit %d: %w", resource, err)
		}
	}
	return nil
}

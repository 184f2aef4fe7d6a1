package warden

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// bytesPerFile is what the kernel charges a session for an open file, at least: 192 bytes for its struct file, and 8 for its place in
// the table of a process. So the memory of sessions bounds their open files. No resource limit does: a process needs 1,024, and a session
// has as many processes.
const bytesPerFile = 200

// fewFiles returns a reason if sessions have the memory to open as many files as the machine allows, fs.file-max. Then nobody on the machine
// but root can open another one. systemd sets fs.file-max to the largest number; the kernel's own default is one for 10 KiB of memory.
func fewFiles() error {
	text, err := os.ReadFile("/proc/sys/fs/file-max")
	if err != nil {
		return err
	}
	most, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return err
	}
	var s syscall.Sysinfo_t
	if err := syscall.Sysinfo(&s); err != nil {
		return os.NewSyscallError("sysinfo", err)
	}
	return fewerThan(most, uint64(s.Totalram)*uint64(s.Unit))
}

func fewerThan(most, memory uint64) error {
	if need := memory / bytesPerFile; most < need {
		return fmt.Errorf("fs.file-max is %d, and the machine's memory has room for %d open files", most, need)
	}
	return nil
}

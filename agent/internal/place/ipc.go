package place

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-go/berth/agent/internal/proc"
)

// removeIPC removes a uid's System V shared memory, semaphores and queues: kernel objects that outlive processes.
func removeIPC(uid int) error {
	var failed []error
	for _, kind := range []struct {
		file string
		call func(id uintptr)
	}{
		{"shm", func(id uintptr) { syscall.RawSyscall(syscall.SYS_SHMCTL, id, ipcRMID, 0) }},
		{"sem", func(id uintptr) { syscall.RawSyscall6(syscall.SYS_SEMCTL, id, 0, ipcRMID, 0, 0, 0) }},
		{"msg", func(id uintptr) { syscall.RawSyscall(syscall.SYS_MSGCTL, id, ipcRMID, 0) }},
	} {
		ids := ipcOf("/proc/sysvipc/"+kind.file, uid)
		if len(ids) == 0 {
			continue
		}
		// Without CAP_SYS_ADMIN only the owner may.
		failed = append(failed, proc.As(uid, func() {
			for _, id := range ids {
				kind.call(id)
			}
		}))
		if left := ipcOf("/proc/sysvipc/"+kind.file, uid); len(left) > 0 {
			failed = append(failed, fmt.Errorf("%d System V %s objects of uid %d are left", len(left), kind.file, uid))
		}
	}
	return errors.Join(failed...)
}

const ipcRMID = 0

// ipcOf returns the objects that a uid owns or made. The file's first line names the columns.
func ipcOf(file string, uid int) []uintptr {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	var ids []uintptr
	var columns []string
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if columns == nil {
			columns = fields
			continue
		}
		var id uintptr
		mine := false
		for i, name := range columns[:min(len(columns), len(fields))] {
			n, _ := strconv.ParseUint(fields[i], 10, 64)
			switch name {
			case "shmid", "semid", "msqid":
				id = uintptr(n)
			case "uid", "cuid":
				mine = mine || int(n) == uid
			}
		}
		if mine {
			ids = append(ids, id)
		}
	}
	return ids
}

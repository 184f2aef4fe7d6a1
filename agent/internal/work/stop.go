package work

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// minUID is the lowest uid of a session.
const minUID = 10000

// stopTime bounds how long processes may take to stop. One that waits for a disk stops when it has waited.
const stopTime = 10 * time.Second

// stopOthers stops all other processes of this uid, so that the files stand still. resume lets those continue that ran before.
func stopOthers() (resume func(), err error) {
	if os.Getuid() < minUID { // of the machine, not of a session
		return nil, fmt.Errorf("uid %d is not that of a session", os.Getuid())
	}
	stopped := make(map[int]bool) // by others
	for pid, state := range states() {
		stopped[pid] = state == 'T'
	}
	resume = func() { Resume(stopped) }
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if err := syscall.Kill(-1, syscall.SIGSTOP); err != nil && err != syscall.ESRCH && err != syscall.EPERM {
			resume()
			return nil, err
		}
		if standing() {
			return resume, nil
		}
		switch waited := time.Since(begun); {
		case waited > stopTime:
			resume()
			return nil, errors.New("the processes of the session did not stop in time")
		case waited > vforkTime:
			release(stopped)
		}
	}
}

// vforkTime is how long a process may take to stop before release.
const vforkTime = 20 * time.Millisecond

// release lets the children of processes that wait continue for a moment, but for some. After a vfork, a parent stops only when its
// child has started its program, or has ended.
func release(but map[int]bool) {
	all := states()
	for pid, state := range all {
		if state == 'T' && !but[pid] && all[parentOf(pid)] == 'D' {
			syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// parentOf returns the parent of a process; 0 = it is not known.
func parentOf(pid int) int {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(string(fields[1]))
	return parent
}

// Resume lets the processes of this uid continue, but for some. A parent comes after its children, which have then continued when it asks
// for their states.
func Resume(but map[int]bool) {
	all := states()
	pids := make([]int, 0, len(all))
	for pid := range all {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	for _, pid := range slices.Backward(pids) {
		if !but[pid] {
			syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// states returns the states of the other processes of this uid.
func states() map[int]byte {
	all := make(map[int]byte)
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var st syscall.Stat_t
		if syscall.Stat("/proc/"+e.Name(), &st) != nil || int(st.Uid) != os.Getuid() {
			continue
		}
		if state, ok := stateOf("/proc/" + e.Name()); ok {
			all[pid] = state
		}
	}
	return all
}

// standing reports whether no thread of another process runs.
func standing() bool {
	for pid := range states() {
		tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*")
		for _, task := range tasks {
			switch state, ok := stateOf(task); {
			case ok && !bytes.ContainsRune([]byte("TtZX"), rune(state)):
				return false
			}
		}
	}
	return true
}

// stateOf returns the letter of a process's or a thread's state.
func stateOf(dir string) (byte, bool) {
	text, err := os.ReadFile(dir + "/stat")
	at := bytes.LastIndexByte(text, ')') // ends the name, in which anything may stand
	if err != nil || at < 0 || at+2 >= len(text) {
		return 0, false
	}
	return text[at+2], true
}

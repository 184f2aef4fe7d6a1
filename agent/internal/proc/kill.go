package proc

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/pause"
)

// Kill ends every process that carries the mark, and returns when none is left. uid is the uid of the processes.
//
// A list of processes is out of date when it is read: a process that is forked meanwhile is not on it. If there are few
// processes, Kill stops them until two lists agree, and then kills them. If there are many, or if they fork faster than that,
// Kill stops all processes of the uid for the moment that the listing takes.
func Kill(ctx context.Context, mark, uid int) error {
	for pass := 0; ; pass++ {
		left, settled := stopFew(mark)
		if settled && len(left) == 0 {
			return nil
		}
		if !settled {
			return killFrozen(ctx, mark, uid)
		}
		for _, pid := range left {
			signalMarked(pid, mark, syscall.SIGKILL)
		}
		if err := pause.Sleep(ctx, min(500*time.Microsecond<<min(pass, 8), 20*time.Millisecond)); err != nil {
			return stillLive(left, err)
		}
	}
}

// few is the largest number of processes that are stopped one by one.
const few = 16

// stopFew stops the carriers of a mark, if they are few, and returns them. settled says that there are no others and that none of
// them runs.
func stopFew(mark int) (pids []int, settled bool) {
	stopped := make(map[int]bool)
	for range 10 {
		found := carriers(mark)
		if pids = found.pids; len(pids) > few {
			return pids, false
		}
		if found.sure && found.running == 0 {
			return pids, true
		}
		for _, pid := range pids {
			if !stopped[pid] {
				stopped[pid] = signalMarked(pid, mark, syscall.SIGSTOP)
			}
		}
	}
	return pids, false
}

// killFrozen kills the carriers of a mark while all processes of the uid are stopped. One system call stops them. A process in
// the middle of a fork completes the fork, and the child stops too. So the uid's other processes continue only after two
// lists without a carrier. A thousand processes that share memory take some time to die.
func killFrozen(ctx context.Context, mark, uid int) error {
	if err := As(uid, func() { syscall.Kill(-1, syscall.SIGSTOP) }); err != nil {
		return err
	}
	defer As(uid, func() { syscall.Kill(-1, syscall.SIGCONT) })
	for none := 0; none < 2; {
		left := carriers(mark).pids
		if none++; len(left) > 0 {
			none = 0
		}
		for _, pid := range left {
			signalMarked(pid, mark, syscall.SIGKILL)
		}
		if err := pause.Sleep(ctx, 2*time.Millisecond); err != nil {
			return stillLive(left, err)
		}
	}
	return nil
}

func stillLive(pids []int, err error) error {
	return fmt.Errorf("%d processes still live: %w", len(pids), err)
}

// signalMarked signals pid if it carries the mark. It opens the handle first, so that it does not signal another process that
// got the pid meanwhile.
func signalMarked(pid, mark int, sig syscall.Signal) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	now, ok := read(pid, make([]byte, 8<<10))
	return ok && slices.Contains(now.groups, mark) && p.Signal(sig) == nil
}

// KillUser ends every process of a uid, and returns when none is left. kill(-1) as that uid reaches all of them in one system
// call, so a process that forks cannot escape.
func KillUser(ctx context.Context, uid int) error {
	for next := time.Millisecond; ; next = min(2*next, 50*time.Millisecond) {
		if err := As(uid, func() { syscall.Kill(-1, syscall.SIGKILL) }); err != nil {
			return err
		}
		left := living(uid)
		if len(left) == 0 {
			return nil
		}
		if err := pause.Sleep(ctx, next); err != nil {
			return fmt.Errorf("%d processes of uid %d still live: %w", len(left), uid, err)
		}
	}
}

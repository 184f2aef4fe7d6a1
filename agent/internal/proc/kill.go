package proc

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// Kill ends every process that carries the mark and returns when none is left. uid is whose they are.
//
// A list of processes is old when it is read, and what forks in between is not on it. A few processes are stopped
// until two lists agree, and killed then. Many, or some that move faster than that, are caught by stopping the whole
// uid for the moment that it takes to list it.
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
		if err := sleep(ctx, min(500*time.Microsecond<<min(pass, 8), 20*time.Millisecond)); err != nil {
			return stillLive(left, err)
		}
	}
}

// few is how many processes it is worth while to stop one by one.
const few = 16

// stopFew stops the carriers of a mark, if they are few, and returns them. settled says that these are all and that
// none of them runs.
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

// killFrozen kills the carriers of a mark while the whole uid stands still. One system call stops every process of
// it; what was in the middle of a fork finishes that, and its child stops too. So they may go on only when no carrier
// has been seen twice: a thousand that share memory take their time to die.
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
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return stillLive(left, err)
		}
	}
	return nil
}

func stillLive(pids []int, err error) error {
	return fmt.Errorf("%d processes still live: %w", len(pids), err)
}

// signalMarked signals pid if it carries the mark. The handle comes first, so that a pid that was given to another
// process in between is not hit.
func signalMarked(pid, mark int, sig syscall.Signal) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	now, ok := read(pid, make([]byte, 8<<10))
	return ok && slices.Contains(now.groups, mark) && p.Signal(sig) == nil
}

// KillUser ends every process of a uid, and returns when none is left. kill(-1) as that uid reaches all of them in
// one system call, between two forks; so nothing outruns it.
func KillUser(ctx context.Context, uid int) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if err := As(uid, func() { syscall.Kill(-1, syscall.SIGKILL) }); err != nil {
			return err
		}
		left := living(uid)
		if len(left) == 0 {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("%d processes of uid %d still live: %w", len(left), uid, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

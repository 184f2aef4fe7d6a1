package room

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A Keeper keeps a session in a room. If the session uses up its memory, the kernel may kill the room's init, and all of the room
// with it. The next start then opens a new room.
type Keeper struct {
	KeeperConfig
	ctx    context.Context // ends when the session is being closed
	cancel context.CancelCauseFunc
	turn   chan struct{} // has one place, for the call that opens or closes; protects what follows
	room   *Room         // nil = none was opened
	id     string        // by which the Opener knows the room
	mount  *os.File      // of the room's checkout: see hold. nil = there is none
}

// KeeperConfig configures a Keeper.
type KeeperConfig struct {
	Opener   Opener
	Spares   *Spares // nil = there are none
	Spec     Spec
	Settings Settings
	Mark     func() (int, error) // returns the mark of the next start
	Log      *slog.Logger
}

// NewKeeper returns a Keeper that has no room yet.
func NewKeeper(c KeeperConfig) *Keeper {
	k := &Keeper{KeeperConfig: c, turn: make(chan struct{}, 1)}
	k.ctx, k.cancel = context.WithCancelCause(context.Background())
	return k
}

// errClosing is why a start fails that came too late.
var errClosing = &wire.Error{Code: wire.CodeUnknownSession, Message: "the session is being closed"}

// Open opens the room, unless there is one that lives.
func (k *Keeper) Open(ctx context.Context) error {
	_, err := k.living(ctx)
	return err
}

// living returns the room, and opens it if there is none or its init has ended.
func (k *Keeper) living(ctx context.Context) (*Room, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(k.ctx, func() { cancel(context.Cause(k.ctx)) })()
	if err := k.enter(ctx); err != nil {
		return nil, err
	}
	defer k.leave()
	if k.ctx.Err() != nil {
		return nil, errClosing
	}
	if k.room != nil {
		select {
		case <-k.room.Done():
			k.Log.Warn("a session's room has ended by itself; it gets a new one", "session", k.Spec.ID)
			k.LetGo() // before another mount has the same directories
			k.sweep(ctx)
		default:
			return k.room, nil
		}
	}
	fresh, err := k.open(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if errors.Is(err, ErrNoCheckout) {
			return nil, err
		}
		return nil, &wire.Error{Code: wire.CodeInternal, Message: fmt.Sprintf("the session's room cannot be opened: %v", err)}
	}
	k.room = fresh
	k.hold()
	return fresh, nil
}

// hold keeps the mount of the room's checkout beyond the end of the room. The kernel forgets each file of a mount, one after another,
// when nothing uses the mount any more. It would do so while the last process of the room ends, for which the end of the session waits.
func (k *Keeper) hold() {
	k.mount = nil
	if k.Spec.Checkout == nil {
		return
	}
	const oPath, overlayMagic = 0x200000, 0x794c7630
	path := fmt.Sprintf("/proc/%d/root%s", k.room.pid, k.Spec.Checkout.Dir)
	fd, err := syscall.Open(path, oPath|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return // the end of the room takes longer
	}
	k.mount = os.NewFile(uintptr(fd), "checkout")
	var fs syscall.Statfs_t
	if syscall.Fstatfs(fd, &fs) != nil || int64(fs.Type) != overlayMagic {
		k.mount.Close()
		k.mount = nil
	}
}

// LetGo lets go of the mount of the checkout. That takes a while. It may be called once Close has returned, and again.
func (k *Keeper) LetGo() { k.mount.Close() }

func (k *Keeper) open(ctx context.Context) (*Room, error) {
	if r, id := k.Spares.take(ctx, k.Spec); r != nil {
		k.id = id
		return r, nil
	}
	k.id = k.Spec.ID
	control, pid, err := k.Opener.Open(ctx, k.Spec)
	if err != nil {
		return nil, err
	}
	r, err := New(control, pid, k.Settings)
	if err == nil {
		if err = r.Ready(ctx); err == nil {
			return r, nil
		}
		err = errors.Join(err, kill(r))
	}
	k.sweep(ctx)
	return nil, err
}

// Start starts a command in the session's room.
func (k *Keeper) Start(s proc.Spec) (*proc.Process, error) {
	for tries := 1; ; tries++ {
		r, err := k.living(k.ctx)
		if err != nil {
			return nil, err
		}
		if s.Mark, err = k.Mark(); err != nil {
			return nil, err
		}
		p, err := r.Start(s)
		switch {
		case err == nil:
			return p, nil
		case !errors.Is(err, errEnded) || tries == 2:
			return nil, err
		}
		<-r.Done() // soon: it ends, and with it what was started, if it was
	}
}

// Signal signals a process that Start has returned: see [Room.Signal].
func (k *Keeper) Signal(p *proc.Process, sig syscall.Signal, group bool) error {
	ctx, cancel := context.WithTimeout(k.ctx, startTime)
	defer cancel()
	if err := k.enter(ctx); err != nil {
		return err
	}
	r := k.room
	k.leave()
	if r == nil {
		return os.ErrProcessDone
	}
	return r.Signal(p, sig, group)
}

// Close kills every process of the session, and returns when none is left. No process is started afterwards. Close may be
// repeated.
func (k *Keeper) Close(ctx context.Context) error {
	k.cancel(errClosing)
	if err := k.enter(ctx); err != nil {
		return err
	}
	defer k.leave()
	if k.room == nil {
		return nil
	}
	if err := k.room.Kill(ctx); err != nil {
		return fmt.Errorf("the session's room cannot be killed: %w", err)
	}
	k.room = nil
	k.sweep(ctx)
	return nil
}

// Sockets counts the sockets in the session's room; 0 if the Opener cannot count them.
func (k *Keeper) Sockets(ctx context.Context) (int, error) {
	counter, ok := k.Opener.(Counter)
	if !ok {
		return 0, nil
	}
	id, open, err := k.current(ctx)
	if err != nil || !open {
		return 0, err
	}
	return counter.Sockets(ctx, id)
}

// Unlinked returns how many bytes the removed files take that processes of the session still use. 0 = it is not known.
func (k *Keeper) Unlinked(ctx context.Context) int64 {
	bounder, ok := k.Opener.(Bounder)
	if !ok {
		return 0
	}
	id, open, err := k.current(ctx)
	if err != nil || !open {
		return 0
	}
	bytes, err := bounder.Unlinked(ctx, id, k.Spec.Dir)
	if err != nil && ctx.Err() == nil {
		k.Log.Warn("the removed files of a session are not counted", "session", k.Spec.ID, "error", err)
	}
	return bytes
}

// current returns the ID of the session's room, and whether it has one that is open.
func (k *Keeper) current(ctx context.Context) (id string, open bool, err error) {
	if err := k.enter(ctx); err != nil {
		return "", false, err
	}
	defer k.leave()
	return k.id, k.room != nil, nil
}

// End kills every process of the session, and returns when none is left. reason is that of [proc.Process.Reason] for its commands. The
// next start opens a new room.
func (k *Keeper) End(ctx context.Context, reason string) error {
	if err := k.enter(ctx); err != nil {
		return err
	}
	defer k.leave()
	if k.room == nil {
		return nil
	}
	return k.room.killFor(ctx, reason)
}

// killTime bounds the kill of a room whose user's context may have ended.
const killTime = 20 * time.Second

func kill(r *Room) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	return r.Kill(ctx)
}

// sweepTime bounds how long the end of a session waits for the Opener.
const sweepTime = 5 * time.Second

// sweep removes what is left of a room that has ended: nothing of it runs, so a failure does no harm.
func (k *Keeper) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepTime)
	defer cancel()
	if err := k.Opener.Close(ctx, k.id); err != nil {
		k.Log.Warn("what is left of a session's room could not be removed", "session", k.Spec.ID, "error", err)
	}
}

func (k *Keeper) enter(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (k *Keeper) leave() { <-k.turn }

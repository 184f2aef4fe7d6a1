// Package room keeps a session in a room: a PID, a mount and an IPC namespace and a cgroup of its own, inside the session's
// container. The first process of a room is an init, which starts the session's commands for the agent.
package room

import (
	"context"
	"os"
)

// Limits bound what a session uses. 0 means no limit of that kind.
type Limits struct {
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	PIDs        int64 `json:"pids,omitempty"` // processes and threads, with those of the init
	CPUWeight   int   `json:"cpu_weight,omitempty"`
	TmpBytes    int64 `json:"tmp_bytes,omitempty"`
	VarTmpBytes int64 `json:"var_tmp_bytes,omitempty"`
	ShmBytes    int64 `json:"shm_bytes,omitempty"`
	Inodes      int64 `json:"inodes,omitempty"` // of each of the three file systems
	PTYs        int   `json:"ptys,omitempty"`
}

// Spec describes a room to its Opener.
type Spec struct {
	ID          string    `json:"id"`  // of the session, or of the spare room
	UID         int       `json:"uid"` // of the session
	Dir         string    `json:"dir"` // the session's own directory, which is below SessionsDir and exists
	SessionsDir string    `json:"sessions_dir"`
	MirrorDir   string    `json:"mirror_dir"`
	RunDir      string    `json:"run_dir"` // where the agent's socket is
	Limits      Limits    `json:"limits"`
	Spare       bool      `json:"spare,omitempty"` // it is not any session's yet: there is neither UID nor Dir
	Caches      []Overlay `json:"caches,omitempty"`
	Checkout    *Overlay  `json:"checkout,omitempty"` // over the files of a commit; nil = Dir has all files of the checkout
}

// Opener opens rooms for the sessions of one container. It may be used concurrently.
type Opener interface {
	// Open opens a room and starts its init. control is the other end of the init's control socket; pid is the init as the
	// caller sees it. An error leaves nothing behind. ErrNoCheckout.
	Open(ctx context.Context, s Spec) (control *os.File, pid int, err error)
	// Close removes what is left of a room whose init has ended. To close a room that is not there succeeds.
	Close(ctx context.Context, id string) error
}

// Taker is an Opener that opens spare rooms, too.
type Taker interface {
	Opener
	// Take gives a spare room to a session: s is the session's, with the ID of the room. After an error the room is to be closed.
	Take(ctx context.Context, s Spec) error
}

// Mounter is an Opener whose rooms may have a Checkout.
type Mounter interface {
	// TryCheckout mounts a checkout in a directory, and says why that is not possible. "" = it is.
	TryCheckout(ctx context.Context, dir string) (why string, err error)
}

// Counter is an Opener that counts the sockets that the processes of a room hold, and those that are on their way to them.
type Counter interface {
	// Sockets counts those of the room with an ID.
	Sockets(ctx context.Context, id string) (int, error)
}

// Bounder is an Opener that can bound what a session has on the disk.
type Bounder interface {
	// Bound bounds what all uids will make below a directory that is empty. 0 is no limit. If both are 0, there is no bound any more.
	// bounded is false if the file system cannot do so.
	Bound(ctx context.Context, dir string, bytes, files int64) (bounded bool, err error)
	// Unlinked returns how many bytes the removed files take that processes of a room still use, on the file system of a directory.
	Unlinked(ctx context.Context, id, dir string) (bytes int64, err error)
}

// Isolation says what stands between the sessions of a container.
type Isolation struct {
	Rooms  bool   `json:"rooms"`            // each session is in a room
	Reason string `json:"reason,omitempty"` // why something is missing
	Cgroup int    `json:"cgroup,omitempty"` // the version, 1 or 2
	Memory bool   `json:"memory,omitempty"` // a room's memory is bounded
	CPU    bool   `json:"cpu,omitempty"`    // CPU time is shared by weight between rooms
	PIDs   bool   `json:"pids,omitempty"`   // a room's processes are bounded

	Network bool `json:"network,omitempty"` // the container's network has walls

	DiskQuota bool `json:"disk_quota,omitempty"` // the file system bounds what a session has on the disk

	Checkouts bool   `json:"checkouts,omitempty"` // sessions share the files of a commit
	Copies    string `json:"copies,omitempty"`    // why they do not
}

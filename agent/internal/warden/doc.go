// Package warden opens rooms for sessions. A room is the pid, mount and IPC namespace and the cgroup of one session inside its
// container.
//
// The warden is one privileged container of an instance. It runs in the host's pid namespace and listens on a socket in a volume
// that it shares with the pool's containers. The agent of a container asks it for rooms. A request never names a container:
// the warden takes the caller from the socket, and acts in the caller's container alone.
//
// The warden makes the cgroup of a room below the container's. A process of its own in the container's namespaces (Enter) makes
// the room's namespaces and mounts, and forks. The child mounts the room's /proc, gives up every right that the agent lacks,
// and executes the room's init. The warden compares the rights of the init with the agent's before it answers.
//
// An agent may ask for a spare room ahead, which lacks nothing but the directory of a session. A thread of the warden mounts that when
// a session takes the room.
//
// A room does not depend on the warden once it is open. Its processes are in none of the warden's cgroups, and if the process that
// made it ends, the agent becomes the parent of the init. So an agent waits for an init by its pidfd, and reaps it if it is
// the parent.
//
// Rooms need Linux 5.12, for mount_setattr.
package warden

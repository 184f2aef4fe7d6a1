package warden

import (
	"syscall"
	"unsafe"
)

// newScope returns a ruleset of Landlock whose processes cannot connect to abstract unix sockets outside. Rooms share the
// container's network namespace, and with it those names: a session could connect to a neighbour's socket, listen under a name that
// a neighbour uses, or take a descriptor of an accomplice's directory and leave files there. Each room that enters the ruleset is a
// scope of its own. newScope returns -1 if the kernel is older than Linux 6.12, or was built or started without Landlock.
func newScope() int {
	const scoped, version = 6, 1
	v, err := call("landlock_create_ruleset", sysLandlockCreate, 0, 0, version)
	if err != nil || v < scoped {
		return -1
	}
	fd, err := call("landlock_create_ruleset", sysLandlockCreate, uintptr(unsafe.Pointer(&scopeRules)), unsafe.Sizeof(scopeRules), 0)
	if err != nil {
		return -1
	}
	syscall.CloseOnExec(int(fd)) // as the kernel does
	return int(fd)
}

// scopeRules is the kernel's struct landlock_ruleset_attr, with LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET.
var scopeRules = struct{ files, network, scoped uint64 }{scoped: 1}

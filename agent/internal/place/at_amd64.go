package place

import "syscall"

const sysFstatat = syscall.SYS_NEWFSTATAT

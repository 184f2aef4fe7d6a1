package wall

const sysSetns = 268 // package syscall does not have it

package wall

const sysSetns = 308 // package syscall does not have it

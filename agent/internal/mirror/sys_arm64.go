package mirror

const sysRenameat2 = 276

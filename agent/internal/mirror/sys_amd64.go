package mirror

const sysRenameat2 = 316

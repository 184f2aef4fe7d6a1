package cache

const sysSyncfs = 306

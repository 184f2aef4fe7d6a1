package cache

const sysSyncfs = 267

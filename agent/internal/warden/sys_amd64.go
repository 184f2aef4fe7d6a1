package warden

const (
	sysSetns       = 308
	sysSeccomp     = 317
	sysMemfdCreate = 319
	sysKcmp        = 312
)

package warden

const (
	sysSetns       = 268
	sysSeccomp     = 277
	sysMemfdCreate = 279
	sysKcmp        = 272
)

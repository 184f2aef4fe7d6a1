package room

import "github.com/berth-go/berth/agent/internal/wire"

// LayerUID owns the layers of shared caches, and fills them. No session has it.
const LayerUID = 9997

// MaxCaches bounds the caches of a room.
const MaxCaches = wire.MaxCaches

// The directories in the directory of a cache, which is root's alone. The mount of the cache lies over all of it.
const (
	CacheUpper = "upper" // has what the session writes, and is the session's
	CacheLower = "lower" // empty
)

// A Cache is a directory of a session that begins with the files of a layer. The session sees them as its own. What it writes goes
// into its own directory.
type Cache struct {
	Dir   string `json:"dir"`   // below the session's directory. If it is not root's alone, the session has put it there, and gets no cache
	Layer string `json:"layer"` // below MirrorDir; never changed. Its files are LayerUID's
}

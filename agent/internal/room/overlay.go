package room

import (
	"errors"

	"github.com/berth-go/berth/agent/internal/wire"
)

// LayerUID owns the layers of overlays, and makes them. No session has it.
const LayerUID = 9997

// MaxCaches bounds the caches of a room.
const MaxCaches = wire.MaxCaches + wire.MaxPrepareDirs

// The directories in the directory of an overlay, which is root's alone. The mount of the overlay lies over all of it.
const (
	Upper = "upper" // has what the session writes, and is the session's
	Lower = "lower" // empty
	Below = "below" // empty; only if the overlay has a second layer
)

// An Overlay is a directory of a session that begins with the files of a layer. The session sees them as its own. What it writes goes
// into its own directory.
type Overlay struct {
	// Dir is below the session's directory. If that of a cache is not root's alone, the session has put it there, and gets no cache.
	Dir string `json:"dir"`
	// Layer never changes. Its files are LayerUID's. It is below MirrorDir for a cache, below SessionsDir for a checkout.
	Layer string `json:"layer"`
	// Below is a second layer, under the first one: where both have a file, that of the first one is seen. It is below MirrorDir. ""
	// = there is none. A cache has none.
	Below string `json:"below,omitempty"`
}

// ErrNoCheckout says that no room can be opened because the session's checkout cannot be mounted.
var ErrNoCheckout = errors.New("the checkout cannot be mounted")

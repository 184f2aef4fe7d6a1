package dockerengine

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/naming"
)

// The labels of what is ours. Whoever can list containers reads them, so they hold no secret.
const (
	labelPool    = "berth.pool"     // Config.Name: what has it is ours, what has it not is never touched
	labelPoolUID = "berth.pool-uid" // tells two pools of the same name apart
	labelKind    = "berth.kind"     // one of the kinds below
	labelKey     = "berth.key"      // naming.Key.String
	labelLaunch  = "berth.launch"   // the launch ID; engines may carry it too
	labelAgent   = "berth.agent"    // which agent the container was made with
	labelAttempt = "berth.attempt"  // the Ensure that made it
)

// The kinds of things that an engine holds for a pool.
const (
	kindContainer = "container"
	kindMirror    = "mirror"
	kindWork      = "work"
	kindNetwork   = "network"
	kindAgent     = "agent"  // the volume with the agent's program
	kindHelper    = "helper" // a container that is made to fill it, and never started
)

// labels returns the labels of a new thing of the pool.
func (h *host) labels(kind string) map[string]string {
	return map[string]string{
		labelPool:    h.at.Pool,
		labelPoolUID: h.at.PoolUID,
		labelKind:    kind,
		labelLaunch:  h.at.Launch,
	}
}

// filter selects the pool's things of a kind; "" is any kind.
func (h *host) filter(kind string) client.Filters {
	f := make(client.Filters).Add("label", labelPool+"="+h.at.Pool)
	if kind != "" {
		f.Add("label", labelKind+"="+kind)
	}
	return f
}

// owns reports whether a thing with these labels is one of the pool, of that kind.
func (h *host) owns(labels map[string]string, kind string) bool {
	return labels[labelPool] == h.at.Pool && labels[labelPool] != "" && labels[labelKind] == kind
}

// keyOf reads the sharing key from a thing's labels. A key that cannot be read, say one of a later version, is zero.
func keyOf(labels map[string]string) naming.Key {
	key, _ := naming.ParseKey(labels[labelKey])
	return key
}

// short returns a part of a name that stands for text: 60 bits of its hash in hex.
func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:15]
}

func workVolume(container string) string { return container + "-work" }

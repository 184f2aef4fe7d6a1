package dockerengine

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/naming"
)

// The labels of the pool's things. They hold no secret, because every client of the engine can read them.
const (
	labelPool    = "berth.pool"      // Config.Name; a thing without this label is never touched
	labelPoolUID = "berth.pool-uid"  // distinguishes two pools with the same name
	labelKind    = "berth.kind"      // one of the kinds below
	labelKey     = "berth.key"       // naming.Key.String
	labelLaunch  = "berth.launch"    // the launch ID; engines may have this label too
	labelAgent   = "berth.agent"     // the version of the agent that the container was made with
	labelAttempt = "berth.attempt"   // the Ensure that made it
	labelRooms   = "berth.isolation" // of a container: its store.Isolation, with which it was made
	labelMTU     = "berth.mtu"       // of a network: the engine's MTU when it was made, if that was not 1500
)

// The kinds of things that an engine holds for a pool.
const (
	kindContainer = "container"
	kindMirror    = "mirror"
	kindWork      = "work"
	kindNetwork   = "network"
	kindAgent     = "agent"  // the volume with the agent's program
	kindHelper    = "helper" // a container that is made to fill it, and never started
	kindWarden    = "warden" // the container that opens rooms, and the volume of its socket
)

// The types of things that an engine holds. A thing is removed by its type if only a later version knows its kind.
const (
	typeContainer = "container"
	typeVolume    = "volume"
	typeNetwork   = "network"
)

// labels returns the labels of a new thing of the pool.
func (d *daemon) labels(kind string) map[string]string {
	return map[string]string{
		labelPool:    d.at.Pool,
		labelPoolUID: d.at.PoolUID,
		labelKind:    kind,
		labelLaunch:  d.at.Launch,
	}
}

// filter selects the pool's things of a kind; "" is any kind.
func (d *daemon) filter(kind string) client.Filters {
	f := make(client.Filters).Add("label", labelPool+"="+d.at.Pool)
	if kind != "" {
		f.Add("label", labelKind+"="+kind)
	}
	return f
}

// owns reports whether a thing with these labels belongs to the pool and is of that kind.
func (d *daemon) owns(labels map[string]string, kind string) bool {
	return labels[labelPool] == d.at.Pool && labels[labelPool] != "" && labels[labelKind] == kind
}

// keyOf returns the sharing key in a thing's labels. It is zero if it cannot be read, for example if a later version wrote it.
func keyOf(labels map[string]string) naming.Key {
	key, _ := naming.ParseKey(labels[labelKey])
	return key
}

// short returns 60 bits of the hash of a text in hex, as a part of a name.
func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:15]
}

func workVolume(container string) string { return container + "-work" }

package snapshots

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/berth-go/berth/orchestrator"
)

// manifest is what is stored under a name.
type manifest struct {
	Version int                       `json:"version"`
	Kind    orchestrator.SnapshotKind `json:"kind"` // kind and key are those of the object's name: one manifest cannot stand for another
	Key     string                    `json:"key"`
	Digest  string                    `json:"digest"`
	Size    int64                     `json:"size"`
	Blob    string                    `json:"blob"` // the object that holds the content, without "blobs/"
}

const (
	version     = 1
	maxManifest = 4 << 10 // bytes; one has fewer than 700
)

const (
	names = "names/"
	blobs = "blobs/"
	marks = "marks/"
	clock = "clock"

	unused  = ".unused"
	corrupt = ".corrupt"
)

// pathOf returns the object that describes a snapshot.
func pathOf(name orchestrator.SnapshotName) (string, error) {
	if err := name.Validate(); err != nil {
		return "", err
	}
	return names + string(name.Kind) + "/" + escape(name.Key), nil
}

// escape writes everything but lower-case letters, digits, "-" and "_" as "%" and two hexadecimal digits. The result is the name of a file
// on every system, also on those that take "A" and "a" for the same.
func escape(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// nameAt undoes pathOf. ok is false for an object that describes no snapshot.
func nameAt(path string) (name orchestrator.SnapshotName, ok bool) {
	kind, escaped, _ := strings.Cut(strings.TrimPrefix(path, names), "/")
	var key []byte
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		if c == '%' {
			if len(escaped) < i+3 {
				return name, false
			}
			if _, err := fmt.Sscanf(escaped[i+1:i+3], "%02x", &c); err != nil {
				return name, false
			}
			i += 2
		}
		key = append(key, c)
	}
	name = orchestrator.SnapshotName{Kind: orchestrator.SnapshotKind(kind), Key: string(key)}
	again, err := pathOf(name)
	return name, err == nil && again == path
}

// parse reads the manifest of a name. ErrSnapshotCorrupt: it is none.
func parse(content []byte, name orchestrator.SnapshotName) (manifest, error) {
	var m manifest
	bad := func(reason string, args ...any) (manifest, error) {
		return m, fmt.Errorf("%w: the description of %s %s", orchestrator.ErrSnapshotCorrupt, name, fmt.Sprintf(reason, args...))
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return bad("is no JSON: %v", err)
	}
	hex, isSHA256 := strings.CutPrefix(m.Digest, "sha256:")
	notHex := func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }
	epoch, ofDigest := strings.CutPrefix(m.Blob, hex+".")
	switch {
	case m.Version != version:
		return bad("has version %d, not %d", m.Version, version)
	case m.Kind != name.Kind || m.Key != name.Key:
		return bad("is that of %s/%s", m.Kind, m.Key)
	case !isSHA256 || len(hex) != 64 || strings.ContainsFunc(hex, notHex):
		return bad("has the digest %q", m.Digest)
	case m.Size < 0:
		return bad("has the size %d", m.Size)
	case !ofDigest || epoch == "" || strings.Trim(epoch, "0123456789") != "":
		return bad("names the content %q", m.Blob)
	}
	return m, nil
}

// snapshot describes the snapshot whose manifest is an object.
func (m manifest) snapshot(at Object) orchestrator.Snapshot {
	return orchestrator.Snapshot{
		Name:   orchestrator.SnapshotName{Kind: m.Kind, Key: m.Key},
		Digest: m.Digest,
		Size:   m.Size,
		Stored: at.Time,
	}
}

package mirror

import (
	"os"
	"path/filepath"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

// knownHosts is the file with the host keys of a fetch, in the home of git. It holds no secret.
func knownHosts(home string) string { return filepath.Join(home, "known_hosts.berth") }

// writeKnownHosts writes it. One fetch at a time runs.
func writeKnownHosts(home string, r wire.Fetch) error {
	return os.WriteFile(knownHosts(home), []byte(gitremote.KnownHosts+r.KnownHosts), 0o644)
}

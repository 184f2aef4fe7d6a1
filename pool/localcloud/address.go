package localcloud

import (
	"os"
	"path/filepath"
	"runtime"
)

// DefaultAddress returns the address of this machine's container engine: DOCKER_HOST if it is set, else the first socket
// that exists of those at which this platform's engines listen, else the usual socket, which an error can name.
func DefaultAddress() string {
	if address := os.Getenv("DOCKER_HOST"); address != "" {
		return address
	}
	home, _ := os.UserHomeDir()
	return platformAddress(runtime.GOOS, home, os.Getenv("XDG_RUNTIME_DIR"), func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// platformAddress is DefaultAddress without DOCKER_HOST. home and runtimeDir may be "".
func platformAddress(goos, home, runtimeDir string, exists func(path string) bool) string {
	if goos == "windows" {
		return "npipe:////./pipe/docker_engine"
	}
	const usual = "/var/run/docker.sock"
	sockets := []string{usual}
	if runtimeDir != "" {
		sockets = append(sockets, filepath.Join(runtimeDir, "docker.sock")) // an engine without root
	}
	if home != "" {
		sockets = append(sockets,
			filepath.Join(home, ".docker/run/docker.sock"),     // Docker Desktop on macOS
			filepath.Join(home, ".docker/desktop/docker.sock"), // Docker Desktop on Linux
		)
	}
	for _, socket := range sockets {
		if exists(socket) {
			return "unix://" + socket
		}
	}
	return "unix://" + usual
}

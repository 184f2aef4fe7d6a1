package localcloud

import (
	"errors"
	"os"
	"strings"
)

// CheckAddress returns nil if berth can speak to an engine at an address as DOCKER_HOST has it, and otherwise an error
// that says what to do. Docker's own command can speak to more of them. The error does not hold the address, because one
// of ssh may have a password in it. With DOCKER_TLS_VERIFY, an address of TCP is refused: to speak plain text where TLS was
// asked for would be worse than to fail.
func CheckAddress(address string) error {
	scheme, target, _ := strings.Cut(address, "://")
	switch {
	case scheme == "ssh":
		return errors.New("berth does not reach Docker engines over ssh: forward the socket of this one " +
			"(ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST), and set DOCKER_HOST=unix:///tmp/engine.sock")
	case scheme == "npipe":
		return errors.New("berth does not reach Docker engines by a named pipe of Windows: run this program " +
			"in WSL, or let Docker Desktop expose its daemon on tcp://localhost:2375 and set DOCKER_HOST to that")
	case scheme == "tcp" && os.Getenv("DOCKER_TLS_VERIFY") != "":
		return errors.New("DOCKER_TLS_VERIFY asks for TLS, and berth reaches the engine of DOCKER_HOST only without: forward " +
			"its socket by ssh (ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST) and set " +
			"DOCKER_HOST=unix:///tmp/engine.sock, or use New with a dockerengine whose Options.Dialer speaks TLS")
	case scheme != "unix" && scheme != "tcp" || target == "":
		return errors.New("it must begin with unix:// or tcp://, and name a socket or a host")
	}
	return nil
}

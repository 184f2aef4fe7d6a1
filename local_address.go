package berth

import (
	"errors"
	"os"
	"strings"
)

// usable says what to do about the address of an engine to which this package cannot speak, though Docker's own command
// can; nil: it can. The error does not hold the address: one of ssh may have a password in it. To speak plain text where
// TLS was asked for would be worse than to fail.
func usable(address string) error {
	scheme, _, _ := strings.Cut(address, "://")
	switch {
	case scheme == "ssh":
		return errors.New("the Docker engine is to be reached over ssh, which berth does not speak: forward its socket " +
			"(ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST), and set DOCKER_HOST=unix:///tmp/engine.sock")
	case scheme == "npipe":
		return errors.New("the Docker engine is at a named pipe of Windows, which berth does not speak: run this program " +
			"in WSL, or let Docker Desktop expose its daemon on tcp://localhost:2375 and set DOCKER_HOST to that")
	case scheme == "tcp" && os.Getenv("DOCKER_TLS_VERIFY") != "":
		return errors.New("DOCKER_TLS_VERIFY asks for TLS, which berth does not speak to the engine of DOCKER_HOST: forward " +
			"its socket by ssh (ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST) and set " +
			"DOCKER_HOST=unix:///tmp/engine.sock, or use New with a dockerengine whose Options.Dialer speaks TLS")
	}
	return nil
}

// Package embedded holds the agent's program, built for the architectures that containers run on. "make agent" builds the
// program again from its source. A test proves that the embedded program is the one that the source builds.
package embedded

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"strings"
	"sync"
)

//go:generate go run ./internal/build/cmd

//go:embed berth-agent-linux-amd64.gz berth-agent-linux-arm64.gz SHA256SUMS
var files embed.FS

// binaries are the programs that were unpacked, by architecture. Each takes 4 MB.
var binaries sync.Map

// Binary returns the agent's program for Linux on an architecture, "amd64" or "arm64" in Go's words. The caller must not change
// it.
func Binary(arch string) ([]byte, error) {
	if binary, ok := binaries.Load(arch); ok {
		return binary.([]byte), nil
	}
	binary, err := unpack(arch)
	if err == nil {
		binaries.Store(arch, binary)
	}
	return binary, err
}

func unpack(arch string) ([]byte, error) {
	packed, err := files.ReadFile("berth-agent-linux-" + arch + ".gz")
	if err != nil {
		return nil, fmt.Errorf("there is no agent for %q, only for amd64 and arm64", arch)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// Hash returns the SHA-256 of the program in hex, without unpacking it, or "" if there is none. It names the version: the agent
// reports the first 12 digits as its build.
func Hash(arch string) string {
	sums, _ := files.ReadFile("SHA256SUMS")
	for line := range strings.Lines(string(sums)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[1] == "berth-agent-linux-"+arch {
			return fields[0]
		}
	}
	return ""
}

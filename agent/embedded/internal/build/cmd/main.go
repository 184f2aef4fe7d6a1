// Command cmd builds the agent for every architecture into the current directory.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"log"
	"os"

	"github.com/berth-go/berth/agent/embedded/internal/build"
)

func main() {
	log.SetFlags(0)
	var sums bytes.Buffer
	for _, arch := range build.Arches() {
		program, err := build.Build("../..", arch)
		if err != nil {
			log.Fatal(err)
		}
		name := "berth-agent-linux-" + arch
		var packed bytes.Buffer
		w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			log.Fatal(err)
		}
		w.Write(program)
		if err := w.Close(); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(name+".gz", packed.Bytes(), 0o644); err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(program), name)
		log.Printf("%s: %d bytes, %d packed", name, len(program), packed.Len())
	}
	if err := os.WriteFile("SHA256SUMS", sums.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

package embedded

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent/embedded/internal/build"
)

// A reviewer cannot read a binary, so the embedded programs must be the ones that the source builds.
func TestEmbeddedProgramsAreWhatTheSourceBuilds(t *testing.T) {
	if testing.Short() && os.Getenv("CI") != "true" {
		t.Skip("builds two programs")
	}
	// The copy has only the agent's source and its three modules, so it also proves that the program depends on nothing else.
	dir := t.TempDir()
	mod := "module github.com/berth-go/berth\n\n" + modLine(t, "go ") + "\nrequire " + modLine(t, "golang.org/x/net ") + "\nrequire " + modLine(t, "golang.org/x/time ") +
		"\nrequire " + modLine(t, "github.com/klauspost/compress ") + "\n"
	sum, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"go.mod": []byte(mod), "go.sum": sum} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{"agent/cmd", "agent/internal", "agent/egress", "agent/filewire", "agent/gitremote", "agent/devcontainer", "agent/leak"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join("../..", part))); err != nil {
			t.Fatal(err)
		}
	}
	os.RemoveAll(filepath.Join(dir, "agent/internal/agenttest")) // imports what the copy lacks
	for _, arch := range build.Arches() {
		embedded, err := Binary(arch)
		if err != nil {
			t.Fatal(err)
		}
		built, err := build.Build(dir, arch)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(embedded, built) {
			t.Errorf("%s: the embedded agent is not what the source builds: run make agent", arch)
		}
	}
}

func TestHashIsOfTheProgram(t *testing.T) {
	for _, arch := range build.Arches() {
		program, err := Binary(arch)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := Hash(arch), fmt.Sprintf("%x", sha256.Sum256(program)); got != want {
			t.Errorf("%s: Hash is %s, the program's is %s", arch, got, want)
		}
	}
	if _, err := Binary("riscv64"); err == nil || Hash("riscv64") != "" {
		t.Error("there is an agent for riscv64")
	}
}

// modLine returns the line of go.mod that begins with a word. That of "go" has the language version that the compiler is told.
func modLine(t *testing.T, word string) string {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, word) {
			return line
		}
	}
	t.Fatalf("go.mod has no line that begins with %q", word)
	return ""
}

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

// What is embedded must be what the source builds: nobody can see into a binary.
func TestEmbeddedProgramsAreWhatTheSourceBuilds(t *testing.T) {
	if testing.Short() && os.Getenv("CI") != "true" {
		t.Skip("builds two programs")
	}
	// The copy has the agent's source only, so it also proves that nothing else has a say.
	dir := t.TempDir()
	mod := "module github.com/berth-go/berth\n\n" + goLine(t) + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"agent/cmd", "agent/internal"} {
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

// goLine returns go.mod's go line: the language version that the compiler is told.
func goLine(t *testing.T) string {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if strings.HasPrefix(line, "go ") {
			return strings.TrimSpace(line)
		}
	}
	t.Fatal("go.mod has no go line")
	return ""
}

package local_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
)

// program is a small module that needs a small part of the standard library.
var program = gittest.Files(map[string]string{
	"go.mod":  "module example.invalid/program\n\ngo 1.21\n",
	"main.go": "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(os.Args[n%1]) }\n",
})

// BenchmarkRoomBuild compares a git clone of a module and its build. The standard library is built before. Wanted: a ratio of at most
// 1.05.
func BenchmarkRoomBuild(b *testing.B) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		testenv.Missing(b, "needs a Go toolchain: %v", err)
	}
	tw := newTwin(b, program)
	build := func(y *yard, url string) func() time.Duration {
		s, _ := y.create(url)
		installGo(b, s, strings.TrimSpace(string(goroot)))
		n := 0
		return func() time.Duration {
			n++
			// A text that no build has seen makes the compiler and the linker work.
			script := fmt.Sprintf(`set -e; rm -rf ~/clone; git clone -q . ~/clone; cd ~/clone; echo "package main; const n = %d" > n.go
				~/go-tools/bin/go build -buildvcs=false -trimpath -o program . && test -x program`, n)
			begin := time.Now()
			if out, err := s.Command(b.Context(), "sh", "-c", script).CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			return time.Since(begin)
		}
	}
	compare(b, 5, build(tw.rooms, tw.roomsURL), build(tw.none, tw.noneURL))
}

// installGo copies this machine's toolchain into a session.
func installGo(b *testing.B, s *berth.Session, goroot string) {
	b.Helper()
	tools, err := filepath.Glob(filepath.Join(goroot, "pkg/tool/*/*"))
	if err != nil || len(tools) == 0 {
		testenv.Missing(b, "needs the tools of the Go toolchain in %s: %v", goroot, err)
	}
	pack := exec.CommandContext(b.Context(), "tar", "-C", goroot, "-c", "--exclude=testdata", "--exclude=src/cmd", "--exclude=*_test.go",
		"bin/go", "pkg/tool", "pkg/include", "src", "go.env", "VERSION")
	packed, err := pack.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := pack.Start(); err != nil {
		testenv.Missing(b, "needs tar: %v", err)
	}
	unpack := s.Command(b.Context(), "sh", "-c", "mkdir ~/go-tools && tar -x -C ~/go-tools")
	unpack.Stdin = packed
	out, err := unpack.CombinedOutput()
	if failed := pack.Wait(); err != nil || failed != nil {
		b.Fatalf("copying the toolchain: %v, %v\n%s", failed, err, out)
	}
}

// Package need ends tests for which the machine lacks something. It imports next to nothing, so that small test binaries stay
// small. Package testenv has the guards of larger things.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Missing ends a test for which the machine lacks something. The test skips, aloud; where all tests must run (CI=true) it fails.
func Missing(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf(format, args...)
	}
	tb.Skipf(format, args...)
}

// Kernel ends a test for which the machine's kernel lacks a capability. The test skips, also with CI=true, because no package brings
// that. name is the capability that .ci/need knows: "make test" says at its beginning that such tests will skip.
func Kernel(tb testing.TB, name, format string, args ...any) {
	tb.Helper()
	tb.Skipf("the kernel lacks "+name+" (.ci/need "+name+"): "+format, args...)
}

// Root calls Missing for any other user than root.
func Root(tb testing.TB) {
	tb.Helper()
	if os.Getuid() != 0 {
		Missing(tb, "needs root")
	}
}

// Program returns the path of a program. It calls Missing if the machine does not have it.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(tb, "needs %s: %v", name, err)
	}
	return path
}

package local_test

import (
	"flag"
	"testing"
)

// TestMain runs six parallel tests at once, unless -parallel says otherwise: they wait for the engine and for git's
// retries, and need little of the CPU.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "6")
	m.Run()
}

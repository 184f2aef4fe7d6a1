package dockerengine_test

import (
	"flag"
	"testing"
)

// TestMain runs four parallel tests at once, unless -parallel says otherwise: they wait for the engine, and need little of the CPU.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "4")
	m.Run()
}

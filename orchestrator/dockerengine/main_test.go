package dockerengine_test

import (
	"flag"
	"strconv"
	"testing"
)

// parallel is how many parallel tests run at once.
const parallel = 4

// TestMain runs four parallel tests at once, unless -parallel says otherwise: they wait for the engine, and need little of the CPU.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", strconv.Itoa(parallel))
	m.Run()
}

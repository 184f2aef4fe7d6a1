//go:build unix

package telemetry_test

import (
	"syscall"
	"time"
)

// cpu returns the processor time of this process. The other work of the machine does not count, and that of the SDK in the
// background does.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

package world

import (
	"errors"
	"testing"

	"github.com/berth-go/berth"
)

// Start starts a command, which must succeed.
func Start(t testing.TB, cmd *berth.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// WantExit fails the test unless err is the ExitError of a program that ended with an exit code, or by a signal.
func WantExit(t testing.TB, cmd *berth.Cmd, err error, code, signal int) {
	t.Helper()
	failure, ok := errors.AsType[*berth.ExitError](err)
	if !ok || failure.Code != code || failure.Signal != signal || cmd.ExitCode != code {
		t.Errorf("Wait: %v, exit code %d; want exit code %d, signal %d", err, cmd.ExitCode, code, signal)
	}
}

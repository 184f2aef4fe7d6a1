package daemon

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/berth-go/berth/agent/internal/wire"
)

// lasting are the errors by which a command shows that it cannot be started, however often it is tried. All else, such
// as a lack of processes or of memory, may pass.
var lasting = []error{
	syscall.ENOENT, syscall.EACCES, syscall.ENOEXEC, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.E2BIG,
	syscall.ENAMETOOLONG,
	syscall.EINVAL, // a NUL in an argument
}

// startError says what failed in the words of os/exec, and whether it is the command's own fault.
func startError(name string, err error) *wire.Error {
	e := &wire.Error{Code: wire.CodeInternal, Message: err.Error()}
	if slices.ContainsFunc(lasting, func(is error) bool { return errors.Is(err, is) }) {
		e.Code = wire.CodeNotExecutable
	}
	var failed *os.PathError
	switch {
	case !errors.As(err, &failed):
	case failed.Op == "exec" && !strings.Contains(name, "/"):
		e.Message = fmt.Sprintf("exec: %q: %v", name, failed.Err)
	default:
		e.Message = failed.Error()
	}
	return e
}

package environ

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/berth-go/berth/agent/internal/wire"
)

// lasting are the errors after which another try to start a command is of no use. All other errors, such as a lack of processes
// or of memory, may pass.
var lasting = []error{
	syscall.ENOENT, syscall.EACCES, syscall.ENOEXEC, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.E2BIG,
	syscall.ENAMETOOLONG,
	syscall.EINVAL, // a NUL in an argument
}

// StartError describes a failed start as os/exec does, and says whether the command itself is at fault. dir is the command's
// working directory, uid that of its session. An error that a session's room reports is described already.
func StartError(name, dir string, uid int, err error) *wire.Error {
	var described *wire.Error
	if errors.As(err, &described) {
		return described
	}
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
	if failed != nil && failed.Op == "exec" && strings.Contains(failed.Path, "/") {
		file := failed.Path
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		if why := Obstacle(file, uid); why != "" && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOENT)) {
			e.Message += ": " + why
		}
	}
	return e
}

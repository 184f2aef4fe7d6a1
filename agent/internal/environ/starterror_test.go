package environ

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/berth-go/berth/agent/internal/wire"
)

func TestWhatKeepsACommandFromStarting(t *testing.T) {
	exec := func(err error) error { return &os.PathError{Op: "exec", Path: "/none/x", Err: err} }
	for _, c := range []struct {
		name          string
		err           error
		code, message string
	}{
		{"x", exec(syscall.ENOENT), wire.CodeNotExecutable, `exec: "x": no such file or directory`},
		{"/none/x", exec(syscall.EACCES), wire.CodeNotExecutable, "exec /none/x: permission denied"},
		{"/none/x", exec(syscall.ENOEXEC), wire.CodeNotExecutable, "exec /none/x: exec format error"},
		{"x", &os.PathError{Op: "chdir", Path: "/d", Err: syscall.ENOTDIR}, wire.CodeNotExecutable, "chdir /d: not a directory"},
		{"x", exec(syscall.E2BIG), wire.CodeNotExecutable, `exec: "x": argument list too long`},
		{"x", exec(syscall.EAGAIN), wire.CodeInternal, `exec: "x": resource temporarily unavailable`},
		{"/none/x", exec(syscall.ENOMEM), wire.CodeInternal, "exec /none/x: cannot allocate memory"},
		{"x", exec(syscall.ETXTBSY), wire.CodeInternal, `exec: "x": text file busy`},
		{"x", errors.New("too many commands"), wire.CodeInternal, "too many commands"},
	} {
		if e := StartError(c.name, "/", 10001, c.err); e.Code != c.code || e.Message != c.message {
			t.Errorf("%v: %q, %q; want %q, %q", c.err, e.Code, e.Message, c.code, c.message)
		}
	}
}

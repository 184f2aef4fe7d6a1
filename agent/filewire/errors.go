package filewire

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/berth-go/berth/agent/gitremote"
)

// errnos are the errors that have a code, by which they keep their meaning on every operating system. The code is the place in the list,
// from 1. 0 = no error; other errors have codeOther.
var errnos = []syscall.Errno{
	syscall.ENOENT, syscall.EEXIST, syscall.EACCES, syscall.EPERM, syscall.ENOTDIR, syscall.EISDIR, syscall.ENOTEMPTY, syscall.ENOSPC,
	syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EINVAL, syscall.EROFS, syscall.EXDEV, syscall.EBUSY, syscall.EMFILE, syscall.ENOMEM,
	syscall.EIO, syscall.EFBIG, syscall.ETXTBSY, syscall.EBADF, syscall.ENXIO, syscall.EDQUOT, syscall.EMLINK, syscall.EAGAIN,
}

const (
	codeOther     = 255
	codeClosed    = 254 // fs.ErrClosed
	codeIrregular = 253 // ErrIrregular
	maxText       = 1 << 10
)

// ErrIrregular is the error for a file that is neither a regular file nor a directory, such as a named pipe: to open it could take for
// ever.
var ErrIrregular error = &Error{Text: "neither a regular file nor a directory", means: fs.ErrInvalid}

// Error is an error of the program that has no code, in its words.
type Error struct {
	Text  string
	means error
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns what the error means; nil = it is not known.
func (e *Error) Unwrap() error { return e.means }

// appendError adds an error without the path, which the client knows.
func appendError(b []byte, err error) []byte {
	switch {
	case err == nil:
		return append(b, 0)
	case errors.Is(err, ErrIrregular):
		return append(b, codeIrregular)
	case errors.Is(err, fs.ErrClosed):
		return append(b, codeClosed)
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok && !detailed(err) {
		for i, known := range errnos {
			if errno == known {
				return append(b, byte(i+1))
			}
		}
	}
	if failed, ok := errors.AsType[*fs.PathError](err); ok && !detailed(err) {
		err = failed.Err
	}
	text := err.Error()
	return appendString(append(b, codeOther, meaning(err)), text[:min(len(text), maxText)])
}

// Detail is an error whose text says more than its errno.
type Detail struct {
	About string // such as the name of an entry of an archive
	Err   error
}

func (e *Detail) Error() string { return e.About + ": " + e.Err.Error() }

// Unwrap returns the error.
func (e *Detail) Unwrap() error { return e.Err }

func detailed(err error) bool { return errors.As(err, new(*Detail)) }

// meanings are what an error with a text may mean besides.
var meanings = []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid, syscall.ENOSPC}

func meaning(err error) byte {
	for i, m := range meanings {
		if errors.Is(err, m) {
			return byte(i + 1)
		}
	}
	return 0
}

// error reads an error. Its text is made one line of printable characters.
func (p *parser) error() error {
	switch code := int(p.byte()); {
	case code == 0:
		return nil
	case code <= len(errnos):
		return errnos[code-1]
	case code == codeClosed:
		return fs.ErrClosed
	case code == codeIrregular:
		return ErrIrregular
	case code == codeOther:
		e := new(Error)
		if m := int(p.byte()); m > 0 && m <= len(meanings) {
			e.means = meanings[m-1]
		}
		e.Text = gitremote.Line(p.string(maxText), maxText)
		return e
	}
	p.fail()
	return nil
}

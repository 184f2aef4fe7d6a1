package rows

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"github.com/berth-go/berth/store"
)

// errOver is the error of a Tx or a View that is used after its function has returned.
var errOver = errors.New("store: used after the function that got it has returned")

// notFound is ErrNotFound with the key. It formats its message only when the message is read.
type notFound store.Key

func (e notFound) Error() string { return store.ErrNotFound.Error() + ": " + store.Key(e).String() }

func (notFound) Unwrap() error { return store.ErrNotFound }

// Again marks an error of a [Backend] that has changed nothing, so that the call may be repeated at once: the connection was lost,
// or two transactions conflicted.
func Again(err error) error { return again{err} }

type again struct{ error }

func (e again) Unwrap() error { return e.error }

// Panic is the value with which Update panics if its function panicked on another goroutine.
type Panic struct {
	Value any
	stack []byte
}

func newPanic(value any) *Panic { return &Panic{value, debug.Stack()} }

func (p *Panic) Error() string { return fmt.Sprintf("%v\n\n%s", p.Value, p.stack) }

// Unwrap returns the value, if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// mostID is the most bytes that a key's ID may have.
const mostID = 1 << 10

// checkKey returns an error for a key that a database would refuse, together with everything that shares its transaction.
func checkKey(key store.Key) error {
	if len(key.ID) > mostID || !utf8.ValidString(key.ID) || strings.ContainsRune(key.ID, 0) {
		return fmt.Errorf("the ID of a %s is not UTF-8 without NUL of at most %d bytes: %.40q", key.Kind, mostID, key.ID)
	}
	return nil
}

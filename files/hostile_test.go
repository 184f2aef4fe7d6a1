package files_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/berth-go/berth/agent/filewire"
	"github.com/berth-go/berth/files"
)

// liar is a files.Server and a files.Handle that answers everything alike.
type liar struct {
	answer filewire.Answer
	opens  bool
	infos  []filewire.Info // of the answer by which it opens
}

func (l liar) Call(context.Context, *filewire.Request) (filewire.Answer, error) { return l.answer, nil }

func (l liar) Open(context.Context, *filewire.Request) (filewire.Answer, files.Handle, error) {
	if !l.opens {
		return l.answer, nil, nil
	}
	a := l.answer
	if l.infos != nil {
		a.Infos = l.infos
	}
	return a, l, nil
}

// TestHostileProgram: whatever the program answers that serves a session's files, each call ends, and believes nothing that cannot be.
func TestHostileProgram(t *testing.T) {
	one := []filewire.Info{{Name: "f"}}
	var many []filewire.Info
	for i := range 10_000 {
		many = append(many, filewire.Info{Name: fmt.Sprint(i)})
	}
	first := func(_ any, err error) error { return err }
	open := func(fsys *files.FS) *files.File {
		f, err := fsys.OpenFile("f", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		what string
		liar liar
		call func(fsys *files.FS) error
		want error // nil = any
	}{
		{"Stat without an answer", liar{}, func(fsys *files.FS) error { return first(fsys.Stat("f")) }, nil},
		{"Open of nothing", liar{answer: filewire.Answer{Infos: one}}, func(fsys *files.FS) error { return first(fsys.Open("f")) }, nil},
		{"Open without an answer", liar{opens: true}, func(fsys *files.FS) error { return first(fsys.Open("f")) }, nil},
		{"CopyIn to nothing", liar{}, func(fsys *files.FS) error { return fsys.CopyIn(new(failing)) }, nil},
		{"CopyOut of nothing", liar{}, func(fsys *files.FS) error { return first(fsys.CopyOut("f")) }, nil},
		{"Watch of nothing", liar{}, func(fsys *files.FS) (last error) {
			for _, last = range fsys.Watch(t.Context(), "f") {
			}
			return last
		}, nil},
		{"a watch of what is elsewhere", liar{answer: filewire.Answer{Data: []byte("\x01\x04../x")}, opens: true}, func(fsys *files.FS) (last error) {
			for _, last = range fsys.Watch(t.Context(), "f") {
			}
			return last
		}, nil},
		{"a directory without end", liar{answer: filewire.Answer{Infos: many}, opens: true, infos: one}, func(fsys *files.FS) error {
			return first(open(fsys).ReadDir(-1))
		}, syscall.EFBIG},
		{"a name with a slash", liar{answer: filewire.Answer{Infos: []filewire.Info{{Name: "a/b"}}, End: true}, opens: true}, func(fsys *files.FS) error {
			return first(open(fsys).ReadDir(-1))
		}, nil},
		{"nothing that goes on", liar{answer: filewire.Answer{Infos: one}, opens: true}, func(fsys *files.FS) error {
			return first(io.ReadAll(open(fsys)))
		}, nil},
		{"more than was asked for", liar{answer: filewire.Answer{Infos: one, Data: make([]byte, filewire.MaxData+1)}, opens: true}, func(fsys *files.FS) error {
			return first(open(fsys).WriteTo(io.Discard))
		}, nil},
		{"a part in the middle", liar{answer: filewire.Answer{Infos: one, Data: []byte("x")}, opens: true}, func(fsys *files.FS) error {
			return first(fsys.ReadFile("f"))
		}, nil},
	} {
		err := c.call(files.New(t.Context(), c.liar, "/sessions/s/repo"))
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: the error is %v; want %v", c.what, err, c.want)
		}
		if _, ok := errors.AsType[*fs.PathError](err); !ok {
			t.Errorf("%s: the error is a %T", c.what, err)
		}
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

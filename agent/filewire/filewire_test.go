package filewire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMessages(t *testing.T) {
	r := Request{
		Op: OpOpen, Handle: 7, Offset: -3, Size: 99, Flag: Write | Create, Mode: fs.ModeDir | 0o755, Abort: true,
		Times: [2]time.Time{{}, time.Unix(-5, 123)}, Paths: []string{"a\nb", "\xff", ""}, Data: []byte("data"),
	}
	frame := r.frame(1 << 31)
	id, got, err := parseRequest(frame[4:])
	if err != nil || id != 1<<31 || !reflect.DeepEqual(got, r) || int(binary.BigEndian.Uint32(frame)) != len(frame)-4 {
		t.Errorf("%d, %+v, %v", id, got, err)
	}
	a := Answer{Handle: 8, End: true, Infos: []Info{{"n\xff", 5, 0o644, time.Unix(9, 8)}, {Name: "m"}}, Data: []byte("x")}
	frame = a.frame(5)
	id, back, err := parseAnswer(frame[4:])
	if err != nil || id != 5 || !reflect.DeepEqual(back, a) {
		t.Errorf("%d, %+v, %v", id, back, err)
	}
}

// TestErrors: what an error means is known on the other side, and its text shows as itself.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err   error
		means []error
		text  string
	}{
		{&fs.PathError{Op: "open", Path: "/secret", Err: syscall.ENOENT}, []error{fs.ErrNotExist, syscall.ENOENT}, syscall.ENOENT.Error()},
		{syscall.ENOTEMPTY, []error{fs.ErrExist, syscall.ENOTEMPTY}, ""},
		{syscall.EDQUOT, []error{syscall.EDQUOT}, ""},
		{ErrIrregular, []error{ErrIrregular, fs.ErrInvalid}, ""},
		{fs.ErrClosed, []error{fs.ErrClosed}, ""},
		{&Detail{"a\nname", syscall.EACCES}, []error{fs.ErrPermission}, "a; name: permission denied"},
		{errors.New("\x1b[2J"), nil, `\x1b[2J`},
		{errors.New(strings.Repeat("long ", 1000)), nil, ""},
	} {
		a := Answer{Err: c.err}
		_, got, err := parseAnswer(a.frame(1)[4:])
		if err != nil || got.Err == nil || len(got.Err.Error()) > maxText || c.text != "" && got.Err.Error() != c.text {
			t.Errorf("%v became %v, %v", c.err, got.Err, err)
		}
		for _, m := range c.means {
			if !errors.Is(got.Err, m) {
				t.Errorf("%v became %v, which is not %v", c.err, got.Err, m)
			}
		}
	}
}

// TestHostileAnswers: a program that answers wrongly ends its connection, and every call fails.
func TestHostileAnswers(t *testing.T) {
	unasked := (&Answer{}).frame(77)
	huge := binary.BigEndian.AppendUint32(nil, 1<<31)
	many := seal(append(append(begin(0), 1, 0, 0, 0), 0xff, 0xff, 0xff, 0xff, 0x0f))
	for name, says := range map[string][]byte{
		"nothing": nil, "an answer to no request": unasked, "a huge frame": huge, "a part": unasked[:len(unasked)-1],
		"an empty frame": {0, 0, 0, 0}, "more entries than bytes": many, "words": []byte("HTTP/1.1 200 OK\r\n\r\n"),
	} {
		asked, requests := io.Pipe()
		go io.Copy(io.Discard, asked)
		c := NewConn(requests, io.NopCloser(bytes.NewReader(says)))
		if _, err := c.Call(context.Background(), &Request{Op: OpPing}); !errors.Is(err, ErrLost) {
			t.Errorf("%s: Call returned %v", name, err)
		}
		<-c.Done()
	}
}

// TestRequestsThatAreTooLarge do not reach the program, which would end.
func TestRequestsThatAreTooLarge(t *testing.T) {
	asked, requests := io.Pipe()
	answers, _ := io.Pipe()
	c := NewConn(requests, answers)
	defer c.Close(ErrLost)
	go func() {
		if n, _ := asked.Read(make([]byte, 1)); n > 0 {
			t.Error("a request was sent")
		}
	}()
	for _, r := range []Request{
		{Op: OpStat, Paths: []string{strings.Repeat("n", maxPath+1)}},
		{Op: OpCopyOut, Paths: make([]string, maxPaths+1)},
		{Op: OpCopyOut, Paths: []string{strings.Repeat("n", maxPath)}, Data: make([]byte, maxFrame)},
	} {
		if _, err := c.Call(context.Background(), &r); err == nil || errors.Is(err, ErrLost) {
			t.Errorf("Call returned %v", err)
		}
	}
}

// TestGivenUp: what a call has opened whose caller has given up is closed.
func TestGivenUp(t *testing.T) {
	asked, requests := io.Pipe()
	answers, out := io.Pipe()
	c := NewConn(requests, answers)
	defer c.Close(ErrLost)
	in := bufio.NewReader(asked)
	ctx, cancel := context.WithCancelCause(context.Background())
	gone := errors.New("the caller has gone")
	failed := make(chan error)
	go func() {
		_, err := c.Call(ctx, &Request{Op: OpOpen, Paths: []string{"f"}})
		failed <- err
	}()
	next := func() (uint32, Request) {
		frame, err := readFrame(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		id, r, err := parseRequest(frame)
		if err != nil {
			t.Fatal(err)
		}
		return id, r
	}
	id, _ := next()
	cancel(gone)
	if err := <-failed; err != gone {
		t.Errorf("Call returned %v", err)
	}
	if _, err := out.Write((&Answer{Handle: 5}).frame(id)); err != nil {
		t.Fatal(err)
	}
	if _, r := next(); r.Op != OpClose || r.Handle != 5 || !r.Abort {
		t.Errorf("then it asked for %+v", r)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add((&Request{Op: OpRename, Paths: []string{"a", "b"}}).frame(1)[4:])
	f.Add((&Answer{Err: syscall.ENOENT, Infos: []Info{{Name: "x"}}}).frame(1)[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, r, err := parseRequest(b); err == nil {
			if _, again, err := parseRequest(r.frame(id)[4:]); err != nil || again.Op != r.Op || len(again.Paths) != len(r.Paths) {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		}
		if id, a, err := parseAnswer(b); err == nil {
			if len(a.Infos) > len(b) {
				t.Errorf("%d bytes have %d entries", len(b), len(a.Infos))
			}
			if _, _, err := parseAnswer(a.frame(id)[4:]); err != nil {
				t.Errorf("%+v: %v", a, err)
			}
		}
		Events(b)
	})
}

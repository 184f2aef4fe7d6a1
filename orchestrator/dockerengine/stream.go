package dockerengine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
)

// stream is the connection to a program that was started by exec without a terminal. Writes go to the program's standard
// input, and reads come from its standard output. The engine sends standard output and standard error as frames in one
// stream. This type separates them. stdcopy.StdCopy would need a goroutine and a pipe, and a pipe has no deadlines. If a
// deadline cuts a read short, nothing is lost.
type stream struct {
	net.Conn           // to the engine; writing, closing and deadlines are its own
	in       io.Reader // the engine's stream, after its answer

	header [frameHeader]byte
	have   int             // how many bytes of the next header were read
	kind   stdcopy.StdType // of the current frame
	left   uint32          // how many bytes of the current frame are still to be read
	stderr tail
}

const (
	frameHeader = 8 // the number of the output, three zeros, and the length as four bytes, big-endian
	maxTail     = 1 << 10
)

// Read implements [net.Conn]. If the program has ended, the error holds what it wrote to its standard error.
func (s *stream) Read(p []byte) (n int, err error) {
	for n == 0 && err == nil && len(p) > 0 {
		if s.left == 0 {
			err = s.next()
		} else {
			n, err = s.body(p)
		}
	}
	return n, s.explain(err)
}

// next reads the header of a frame.
func (s *stream) next() error {
	for s.have < frameHeader {
		n, err := s.in.Read(s.header[s.have:])
		s.have += n
		if err != nil && s.have < frameHeader {
			return err
		}
	}
	s.kind, s.left, s.have = stdcopy.StdType(s.header[0]), binary.BigEndian.Uint32(s.header[4:]), 0
	return nil
}

// body reads n bytes of standard output from the frame. n is 0 if the frame is not standard output.
func (s *stream) body(p []byte) (n int, err error) {
	output := s.kind == stdcopy.Stdout || s.kind == stdcopy.Stdin
	if !output {
		p = make([]byte, maxTail)
	}
	n, err = s.in.Read(p[:min(uint32(len(p)), s.left)])
	s.left -= uint32(n)
	switch {
	case output:
		return n, err
	case s.kind == stdcopy.Stderr, s.kind == stdcopy.Systemerr:
		_, _ = s.stderr.Write(p[:n])
		return 0, err
	}
	return 0, fmt.Errorf("the engine sent a frame of unknown kind %d", s.kind)
}

// explain adds the end of the program's standard error to an EOF.
func (s *stream) explain(err error) error {
	if words := s.stderr.String(); errors.Is(err, io.EOF) && words != "" {
		return fmt.Errorf("%w: %s", io.ErrUnexpectedEOF, words)
	}
	return err
}

// CloseWrite ends the program's standard input.
func (s *stream) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// tail is a writer that keeps the last maxTail bytes.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if cut := len(t.text) - maxTail; cut > 0 {
		t.text = append(t.text[:0], t.text[cut:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.text)) }

package dockerengine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/moby/moby/api/pkg/stdcopy"
)

// frame returns the frame that an engine sends when a program writes.
func frame(kind stdcopy.StdType, text string) string {
	header := make([]byte, frameHeader, frameHeader+len(text))
	header[0] = byte(kind)
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return string(append(header, text...))
}

func TestStreamReadsStandardOutput(t *testing.T) {
	sent := frame(stdcopy.Stdout, "one ") + frame(stdcopy.Stderr, "complaint") + frame(stdcopy.Stdout, "") +
		frame(stdcopy.Stdout, strings.Repeat("two ", 20000))
	for name, in := range map[string]io.Reader{
		"at once":       strings.NewReader(sent),
		"byte by byte":  iotest.OneByteReader(strings.NewReader(sent)),
		"end with data": iotest.DataErrReader(strings.NewReader(sent)),
	} {
		s := &stream{in: in}
		var got bytes.Buffer
		_, err := got.ReadFrom(s)
		if want := "one " + strings.Repeat("two ", 20000); got.String() != want {
			t.Errorf("%s: %d bytes were read; want %d", name, got.Len(), len(want))
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "complaint") {
			t.Errorf("%s: the error is %v; want the program's complaint", name, err)
		}
	}
}

func TestStreamEndsWithoutError(t *testing.T) {
	if got, err := io.ReadAll(&stream{in: strings.NewReader(frame(stdcopy.Stdout, "all"))}); string(got) != "all" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestStreamGoesOnAfterADeadline(t *testing.T) {
	sent := frame(stdcopy.Stdout, "all of it")
	for cut := range len(sent) {
		s := &stream{in: io.MultiReader(strings.NewReader(sent[:cut]), iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(sent[cut:]))))}
		var got []byte
		buf := make([]byte, 4)
		for {
			n, err := s.Read(buf)
			got = append(got, buf[:n]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil && !errors.Is(err, iotest.ErrTimeout) {
				t.Fatal(err)
			}
		}
		if string(got) != "all of it" {
			t.Errorf("cut after %d bytes, %q was read", cut, got)
		}
	}
}

func TestStreamRefusesAnUnknownFrame(t *testing.T) {
	if _, err := io.ReadAll(&stream{in: strings.NewReader(frame(7, "?"))}); err == nil {
		t.Error("it was read without an error")
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var words tail
	for range 1000 {
		io.WriteString(&words, "more and more ")
	}
	io.WriteString(&words, "last words\n")
	if got := words.String(); len(got) > maxTail || !strings.HasSuffix(got, "last words") {
		t.Errorf("it kept %d bytes: …%s", len(got), got[max(0, len(got)-20):])
	}
}

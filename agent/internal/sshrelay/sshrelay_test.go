package sshrelay_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent/internal/sshrelay"
)

func framed(message string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(message)))) + message
}

// relayed returns what a client gets that sends some bytes, and what was asked.
func relayed(sent string) (got string, asked []string, err error) {
	var out bytes.Buffer
	conn := struct {
		io.Reader
		io.Writer
	}{strings.NewReader(sent), &out}
	err = sshrelay.Relay(context.Background(), conn, func(_ context.Context, request, bind []byte) ([]byte, error) {
		asked = append(asked, string(request)+"|"+string(bind))
		switch {
		case strings.HasSuffix(string(request), "refuse"):
			return []byte("secret"), errors.New("no")
		case strings.HasSuffix(string(request), "long"):
			return make([]byte, sshrelay.MaxMessage+1), nil
		}
		return []byte("answer"), nil
	})
	return out.String(), asked, err
}

func TestRelay(t *testing.T) {
	bind := "\x1b" + framed("session-bind@openssh.com") + "rest"
	const failure, success = "\x05", "\x06"
	for name, c := range map[string]struct{ sent, want, asked []string }{
		"a list, and a signature":    {[]string{"\x0b", "\x0dsign"}, []string{"answer", "answer"}, []string{"\x0b|", "\x0dsign|"}},
		"bound to a server":          {[]string{bind, "\x0dsign"}, []string{success, "answer"}, []string{"\x0dsign|" + bind}},
		"bound to two":               {[]string{bind, bind, "\x0dsign"}, []string{success, failure, "answer"}, []string{"\x0dsign|"}},
		"refused":                    {[]string{"\x0drefuse", "\x0b"}, []string{failure, "answer"}, []string{"\x0drefuse|", "\x0b|"}},
		"an answer that is too long": {[]string{"\x0dlong"}, []string{failure}, []string{"\x0dlong|"}},
		"keys are added and removed": {[]string{"\x11key", "\x12", "\x13", "\x16pass", "\x19"}, []string{failure, failure, failure, failure, failure}, nil},
		"another extension":          {[]string{"\x1b" + framed("query"), "\x1b\xff\xff\xff\xff", "\x1b"}, []string{failure, failure, failure}, nil},
		"the largest request":        {[]string{"\x0d" + strings.Repeat("x", sshrelay.MaxMessage-1)}, []string{"answer"}, []string{"\x0d" + strings.Repeat("x", sshrelay.MaxMessage-1) + "|"}},
		"nothing":                    {nil, nil, nil},
	} {
		var sent, want strings.Builder
		for _, m := range c.sent {
			sent.WriteString(framed(m))
		}
		for _, m := range c.want {
			want.WriteString(framed(m))
		}
		got, asked, err := relayed(sent.String())
		if err != nil || got != want.String() || strings.Join(asked, ";") != strings.Join(c.asked, ";") {
			t.Errorf("%s: %q, asked %q, %v; want %q, asked %q", name, got, asked, err, want.String(), c.asked)
		}
	}
	for _, broken := range []string{"\x00\x00", "\x00\x00\x00\x00", "\xff\xff\xff\xff\x0b", framed("\x0d" + strings.Repeat("x", sshrelay.MaxMessage)), "\x00\x00\x00\x05\x0b"} {
		if got, asked, err := relayed(broken); err == nil || got != "" || asked != nil {
			t.Errorf("%.20q: %q, asked %q, %v", broken, got, asked, err)
		}
	}
}

package plain

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

const evil = "x\x1b[2J\u202e\u200b\nlevel=ERROR msg=forged\r\u0085"

type stringer string

func (s stringer) String() string { return string(s) }

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log := Logger(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if text := fmt.Sprint(a.Value.Any()); strings.ContainsAny(text, "\x1b\n\r\u202e\u200b\u0085") {
			t.Errorf("%s is %q", a.Key, text)
		}
		return a
	}})))
	log.With("with", evil).WithGroup("g").Error(evil, "string", evil, "error", errors.New(evil), "stringer", stringer(evil),
		"list", []string{evil}, slog.Group("group", "inner", evil), "n", 1)
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "forged") {
		t.Errorf("%d lines: %s", n, &out)
	}
}

func TestError(t *testing.T) {
	if Error(nil) != nil || Error(io.EOF) != io.EOF {
		t.Error("an error of one line is changed")
	}
	both := errors.Join(io.EOF, fmt.Errorf("%s: %w", evil, io.ErrNoProgress))
	got := Error(both)
	if !errors.Is(got, io.EOF) || !errors.Is(got, io.ErrNoProgress) || Text(got.Error()) != got.Error() || !strings.HasPrefix(got.Error(), "EOF; x") {
		t.Errorf("%q", got)
	}
}

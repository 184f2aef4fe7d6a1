package fake

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// mail returns a patch that git am and git apply take. It has each file whole.
func mail(author, message string, changes []difference) string {
	var b strings.Builder
	subject, body, _ := strings.Cut(message, "\n")
	fmt.Fprintf(&b, "From %x Mon Sep 17 00:00:00 2001\nFrom: %s <%s>\nDate: %s\nSubject: [PATCH] %s\n%s\n---\n",
		sha1.Sum([]byte(message)), author, "task@localhost", time.Now().Format(time.RFC1123Z), subject, body)
	for _, d := range changes {
		if d.was != nil && d.is != nil && d.was.mode.Type() != d.is.mode.Type() { // git has two parts for that
			part(&b, difference{d.name, d.was, nil})
			part(&b, difference{d.name, nil, d.is})
			continue
		}
		part(&b, d)
	}
	return b.String()
}

// part writes the part of one file.
func part(b *strings.Builder, d difference) {
	fmt.Fprintf(b, "diff --git %s %s\n", quote("a/"+d.name), quote("b/"+d.name))
	from, to := quote("a/"+d.name), quote("b/"+d.name)
	var was, is string
	switch {
	case d.was == nil:
		from, is = "/dev/null", d.is.data
		fmt.Fprintf(b, "new file mode %s\n", gitMode(d.is.mode))
	case d.is == nil:
		to, was = "/dev/null", d.was.data
		fmt.Fprintf(b, "deleted file mode %s\n", gitMode(d.was.mode))
	default:
		was, is = d.was.data, d.is.data
		if d.was.mode != d.is.mode {
			fmt.Fprintf(b, "old mode %s\nnew mode %s\n", gitMode(d.was.mode), gitMode(d.is.mode))
		}
	}
	if was == is && d.was != nil && d.is != nil {
		return
	}
	fmt.Fprintf(b, "index %s..%s\n", blobID(d.was), blobID(d.is))
	if !isText(was) || !isText(is) {
		b.WriteString("GIT binary patch\n")
		literal(b, is)
		literal(b, was)
		return
	}
	if was == is {
		return // an empty file
	}
	fmt.Fprintf(b, "--- %s\n+++ %s\n", from, to)
	n, m := lines(was), lines(is)
	fmt.Fprintf(b, "@@ -%s +%s @@\n", span(n), span(m))
	for _, side := range []struct {
		sign  string
		lines []string
	}{{"-", n}, {"+", m}} {
		for _, line := range side.lines {
			b.WriteString(side.sign + line)
			if !strings.HasSuffix(line, "\n") {
				b.WriteString("\n\\ No newline at end of file\n")
			}
		}
	}
}

func lines(text string) (all []string) {
	for line := range strings.Lines(text) {
		all = append(all, line)
	}
	return all
}

func span(lines []string) string {
	if len(lines) == 0 {
		return "0,0"
	}
	return fmt.Sprintf("1,%d", len(lines))
}

func gitMode(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "120000"
	case m&0o100 != 0:
		return "100755"
	}
	return "100644"
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsAny(s, "\x00\r") }

func blobID(b *blob) string {
	if b == nil {
		return strings.Repeat("0", 40)
	}
	return fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(b.data), b.data)))
}

const base85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

// literal writes one side of a binary patch.
func literal(b *strings.Builder, data string) {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	_, _ = io.WriteString(z, data) // a Buffer does not fail
	_ = z.Close()
	fmt.Fprintf(b, "literal %d\n", len(data))
	for rest := packed.Bytes(); len(rest) > 0; {
		n := min(len(rest), 52)
		if n <= 26 {
			b.WriteByte(byte('A' + n - 1))
		} else {
			b.WriteByte(byte('a' + n - 27))
		}
		for at := 0; at < n; at += 4 {
			var word [4]byte
			copy(word[:], rest[at:n])
			v := uint32(word[0])<<24 | uint32(word[1])<<16 | uint32(word[2])<<8 | uint32(word[3])
			var digits [5]byte
			for i := 4; i >= 0; i-- {
				digits[i] = base85[v%85]
				v /= 85
			}
			b.Write(digits[:])
		}
		b.WriteByte('\n')
		rest = rest[n:]
	}
	b.WriteByte('\n')
}

var errPatch = errors.New("patch does not apply")

// unliteral reads what literal has written, after its first line, and returns the lines behind it.
func unliteral(text []string) (data string, rest []string, err error) {
	var packed []byte
	for len(text) > 0 && text[0] != "\n" {
		line := strings.TrimSuffix(text[0], "\n")
		text = text[1:]
		n := int(line[0]-'A') + 1
		if line[0] >= 'a' {
			n = int(line[0]-'a') + 27
		}
		var some []byte
		for at := 1; at+5 <= len(line); at += 5 {
			var v uint32
			for _, c := range line[at : at+5] {
				v = v*85 + uint32(strings.IndexRune(base85, c))
			}
			some = append(some, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		}
		packed = append(packed, some[:min(n, len(some))]...)
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", nil, err
	}
	all, err := io.ReadAll(z)
	return string(all), text[min(1, len(text)):], err
}

// unmail applies a patch that mail has made to a tree.
func unmail(text string, tree map[string]blob) error {
	parts := strings.Split(text, "\ndiff --git ")
	for _, p := range parts[1:] {
		if err := unpart(lines(p+"\n"), tree); err != nil {
			return err
		}
	}
	return nil
}

// nameOf returns the name in "a/NAME b/NAME".
func nameOf(names string) (string, error) {
	rest, quoted := strings.CutPrefix(names, `"`)
	if !quoted {
		return names[len(names)/2+3:], nil // both halves are equal, apart from a/ and b/
	}
	_, second, _ := strings.Cut(rest, `" "`)
	unquoted, err := strconv.Unquote(`"` + second)
	if err != nil || len(unquoted) < 3 {
		return "", errPatch
	}
	return unquoted[2:], nil
}

// unpart applies the part of one file.
func unpart(text []string, tree map[string]blob) error {
	name, err := nameOf(strings.TrimSuffix(text[0], "\n"))
	if err != nil {
		return err
	}
	b, found := tree[name]
	if !found {
		b.mode = 0o644
	}
	var added, removed strings.Builder
	changed := false
	for text = text[1:]; len(text) > 0; text = text[1:] {
		line := text[0]
		mode := strings.TrimSpace(line[strings.LastIndex(strings.TrimSuffix(line, "\n"), " ")+1:])
		switch {
		case !changed && (strings.HasPrefix(line, "new file mode ") || strings.HasPrefix(line, "new mode ")):
			b.mode = map[string]fs.FileMode{"120000": fs.ModeSymlink, "100755": 0o755, "100644": 0o644}[mode]
		case !changed && strings.HasPrefix(line, "deleted file mode "):
			if !found {
				return fmt.Errorf("%s: %w", name, errPatch)
			}
			delete(tree, name)
			return nil
		case !changed && strings.HasPrefix(line, "literal "):
			data, _, err := unliteral(text[1:])
			if err != nil {
				return err
			}
			b.data = data
			tree[name] = b
			return nil
		case strings.HasPrefix(line, "@@ "):
			changed = true
		case changed && strings.HasPrefix(line, "\\"):
		case changed && (line[0] == '+' || line[0] == '-'):
			if len(text) > 1 && strings.HasPrefix(text[1], "\\") {
				line = strings.TrimSuffix(line, "\n")
			}
			if line[0] == '+' {
				added.WriteString(line[1:])
			} else {
				removed.WriteString(line[1:])
			}
		}
	}
	if changed {
		if removed.String() != b.data {
			return fmt.Errorf("%s: %w", name, errPatch)
		}
		b.data = added.String()
	}
	tree[name] = b
	return nil
}

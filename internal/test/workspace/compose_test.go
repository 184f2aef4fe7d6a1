package workspace

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/need"
)

// makeDeb makes a package as dpkg-deb would, of the given compression ("" or ".gz").
func makeDeb(t *testing.T, compression string, entries ...tar.Header) []byte {
	t.Helper()
	var data bytes.Buffer
	var w io.WriteCloser = nopCloser{&data}
	if compression == ".gz" {
		w = gzip.NewWriter(&data)
	}
	tw := tar.NewWriter(w)
	for _, h := range entries {
		content := "content of " + h.Name
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(tw, content)
		}
	}
	tw.Close()
	w.Close()
	var deb bytes.Buffer
	deb.WriteString(arMagic)
	for _, member := range []struct{ name, content string }{
		{"debian-binary", "2.0\n"}, {"control.tar", "\x00"}, {"data.tar" + compression, data.String()},
	} {
		fmt.Fprintf(&deb, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", member.name, 0, 0, 0, 0o644, len(member.content), member.content)
		if len(member.content)%2 == 1 {
			deb.WriteByte('\n')
		}
	}
	return deb.Bytes()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func TestComposeMergesPackagesIntoOneTree(t *testing.T) {
	one := makeDeb(t, "",
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./bin/su", Typeflag: tar.TypeReg, Mode: 0o4755},
		tar.Header{Name: "./bin/so", Typeflag: tar.TypeLink, Linkname: "./bin/su"},
		tar.Header{Name: "./lib64/ld.so", Typeflag: tar.TypeSymlink, Linkname: "/lib/x/ld.so"},
		tar.Header{Name: "./usr/share/ca-certificates/ca.crt", Typeflag: tar.TypeReg, Mode: 0o644},
		tar.Header{Name: "./usr/share/doc/x", Typeflag: tar.TypeReg, Mode: 0o644})
	two := makeDeb(t, ".gz",
		tar.Header{Name: "./usr/bin/su", Typeflag: tar.TypeReg, Mode: 0o755},
		tar.Header{Name: "./tmp/../etc/x", Typeflag: tar.TypeReg, Mode: 0o600},
		tar.Header{Name: "./../../escape", Typeflag: tar.TypeReg, Mode: 0o600})

	var out bytes.Buffer
	packages := []*debPackage{{Name: "one"}, {Name: "two"}}
	if err := compose(&out, packages, [][]byte{one, two}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]*tar.Header)
	contents := make(map[string]string)
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if found[h.Name] != nil {
			t.Errorf("%s is there twice", h.Name)
		}
		b, _ := io.ReadAll(r)
		found[h.Name], contents[h.Name] = h, string(b)
	}
	for name, want := range map[string]struct {
		mode int64
		link string
	}{
		"bin":             {0o777, "usr/bin"},
		"tmp/":            {0o1777, ""},
		"usr/bin/su":      {0o755, ""},
		"usr/bin/so":      {0, "usr/bin/su"},
		"usr/bin/sh":      {0o777, "dash"},
		"usr/lib64/ld.so": {0, "/lib/x/ld.so"},
		"etc/x":           {0o600, ""},
		"escape":          {0o600, ""},
		"etc/passwd":      {0o644, ""},
	} {
		h := found[name]
		if h == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if h.Mode != want.mode || h.Linkname != want.link || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s has mode %o, link %q, owner %d:%d; want %o, %q, 0:0", name, h.Mode, h.Linkname, h.Uid, h.Gid, want.mode, want.link)
		}
	}
	if found["usr/share/doc/x"] != nil {
		t.Error("documentation was not left out")
	}
	if got := contents["etc/ssl/certs/ca-certificates.crt"]; !strings.Contains(got, "content of ./usr/share/ca-certificates/ca.crt") {
		t.Errorf("the CA bundle is %q", got)
	}
}

func TestBrokenPackagesAreErrors(t *testing.T) {
	whole := makeDeb(t, ".gz", tar.Header{Name: "./x", Typeflag: tar.TypeReg, Mode: 0o644})
	for name, deb := range map[string][]byte{
		"no archive":          []byte("<html>"),
		"cut off":             whole[:len(whole)-20],
		"no data":             []byte(arMagic),
		"unknown compression": bytes.Replace(whole, []byte("data.tar.gz "), []byte("data.tar.br "), 1),
	} {
		t.Run(name, func(t *testing.T) {
			err := compose(io.Discard, []*debPackage{{Name: "broken"}}, [][]byte{deb}, func(string) {})
			if err == nil || !strings.Contains(err.Error(), "unpacking broken") {
				t.Errorf("got %v, want an error that names the package", err)
			}
		})
	}
}

func TestPackagesOfUnknownCompressionAreUnpackedByDpkg(t *testing.T) {
	need.Program(t, "dpkg-deb")
	plain, err := unpackByDpkg(makeDeb(t, ".gz", tar.Header{Name: "./x", Typeflag: tar.TypeReg, Mode: 0o644}))
	if err != nil {
		t.Fatal(err)
	}
	if h, err := tar.NewReader(plain).Next(); err != nil || h.Name != "./x" {
		t.Errorf("the first file is %v, %v; want ./x", h, err)
	}
	if _, err := unpackByDpkg([]byte("no package")); err == nil {
		t.Error("what is no package was unpacked")
	}
}

package workspace

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// A rootfs writes the files of many packages, and those that their install scripts would make, as one tar stream.
type rootfs struct {
	tar   *tar.Writer
	names map[string]bool
	roots bytes.Buffer // all CA certificates, one after another
}

// epoch is the time of every file that does not come from a package, so that the same packages give the same image.
var epoch = time.Date(2023, 6, 10, 0, 0, 0, 0, time.UTC)

// merged lists the directories that are under /usr and have links in the root.
var merged = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// leftOut has the documentation, the message catalogues, and the files that start services.
var leftOut = []string{
	"usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/", "usr/share/bug/",
	"usr/share/doc-base/", "usr/share/menu/", "usr/share/common-licenses/", "usr/lib/systemd/", "etc/init.d/",
	"etc/rmt/", // a link to a program that the image lacks
}

func newRootfs(w io.Writer) *rootfs {
	return &rootfs{tar: tar.NewWriter(w), names: make(map[string]bool)}
}

// begin writes the top directories.
func (fs *rootfs) begin() error {
	for _, dir := range []string{"usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "var", "dev", "proc", "sys", "run", "home", "mnt", "opt", "srv"} {
		if err := fs.dir(dir, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := fs.link(name, "usr/"+name); err != nil {
			return err
		}
	}
	return errors.Join(fs.dir("root", 0o700), fs.dir("tmp", 0o1777), fs.dir("var/tmp", 0o1777))
}

// add writes the files of one package.
func (fs *rootfs) add(files *tar.Reader) error {
	for {
		h, err := files.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fs.put(h, files); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// put writes one entry at its place in the merged tree. The first entry of a name wins.
func (fs *rootfs) put(h *tar.Header, content io.Reader) error {
	name, ok := place(h.Name)
	if !ok || fs.names[name] {
		return nil
	}
	if h.Typeflag == tar.TypeLink {
		if h.Linkname, ok = place(h.Linkname); !ok {
			return nil
		}
	}
	if strings.HasPrefix(name, "usr/share/ca-certificates/") && h.Typeflag == tar.TypeReg {
		content = io.TeeReader(content, &fs.roots)
	}
	// No program in a workspace gains rights when it runs, so no file needs a set-uid bit.
	mode := h.Mode & 0o777
	if h.Typeflag == tar.TypeDir {
		mode = h.Mode & 0o1777
	}
	fs.names[name] = true
	err := fs.tar.WriteHeader(&tar.Header{
		Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Size: h.Size, Mode: mode, ModTime: h.ModTime,
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(fs.tar, content)
	return err
}

// place returns the path in the image of an entry of a package. It returns false if the entry is left out.
func place(entry string) (string, bool) {
	name := strings.TrimPrefix(path.Clean("/"+entry), "/")
	if name == "" {
		return "", false
	}
	top, rest, deeper := strings.Cut(name, "/")
	for _, dir := range merged {
		if top != dir {
			continue
		}
		if !deeper {
			return "", false // the directory itself is a link already
		}
		name = "usr/" + dir + "/" + rest
	}
	for _, dir := range leftOut {
		if strings.HasPrefix(name+"/", dir) {
			return "", false
		}
	}
	return name, true
}

// finish writes the files that install scripts make on a real system, and ends the stream.
func (fs *rootfs) finish() error {
	if fs.roots.Len() == 0 {
		return errors.New("the packages brought no CA certificates")
	}
	for _, f := range []struct{ name, content string }{
		{"etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
		{"etc/group", "root:x:0:\nnogroup:x:65534:\n"},
		{"etc/shells", "/bin/sh\n/bin/bash\n"},
		{"etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n"},
		{"etc/ssl/certs/ca-certificates.crt", fs.roots.String()},
	} {
		if err := fs.file(f.name, f.content); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"usr/bin/sh":    "dash",
		"usr/bin/awk":   "mawk",
		"usr/bin/which": "which.debianutils",
		"usr/bin/pager": "less",
	} {
		if err := fs.link(name, target); err != nil {
			return err
		}
	}
	return fs.tar.Close()
}

func (fs *rootfs) dir(name string, mode int64) error {
	fs.names[name] = true
	return fs.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, ModTime: epoch})
}

// link writes a symbolic link unless a package has that name.
func (fs *rootfs) link(name, target string) error {
	if fs.names[name] {
		return nil
	}
	fs.names[name] = true
	return fs.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: epoch})
}

// file writes a file unless a package has that name.
func (fs *rootfs) file(name, content string) error {
	if fs.names[name] {
		return nil
	}
	fs.names[name] = true
	if err := fs.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o644, ModTime: epoch}); err != nil {
		return err
	}
	_, err := io.WriteString(fs.tar, content)
	return err
}

package workspace

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/ulikunitz/xz"
)

// debFiles returns the files that a package installs.
func debFiles(deb []byte) (*tar.Reader, error) {
	name, data, err := arMember(deb, "data.tar")
	if err != nil {
		return nil, err
	}
	var plain io.Reader = bytes.NewReader(data)
	switch name {
	case "data.tar.xz":
		plain, err = xz.NewReader(plain)
	case "data.tar.gz":
		plain, err = gzip.NewReader(plain)
	case "data.tar":
	case "data.tar.zst": // Ubuntu's; a machine with its packages also has its tools
		plain, err = unpackByDpkg(deb)
	default:
		err = fmt.Errorf("%s: unknown compression", name)
	}
	if err != nil {
		return nil, err
	}
	return tar.NewReader(plain), nil
}

// unpackByDpkg returns the tar stream of a package. It runs the machine's dpkg.
func unpackByDpkg(deb []byte) (io.Reader, error) {
	f, err := os.CreateTemp("", "berth-*.deb")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(deb)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	cmd := exec.Command("dpkg-deb", "--fsys-tarfile", f.Name())
	var plain bytes.Buffer
	cmd.Stdout = &plain
	return &plain, quiet(cmd)
}

const (
	arMagic  = "!<arch>\n"
	arHeader = 60 // bytes: name 16, time 12, uid 6, gid 6, mode 8, size 10, end 2
)

// arMember returns the first member of an ar archive whose name starts with prefix.
func arMember(archive []byte, prefix string) (name string, content []byte, err error) {
	rest, found := bytes.CutPrefix(archive, []byte(arMagic))
	if !found {
		return "", nil, errors.New("not an ar archive")
	}
	for len(rest) >= arHeader {
		header := rest[:arHeader]
		rest = rest[arHeader:]
		size, err := strconv.Atoi(strings.TrimSpace(string(header[48:58])))
		if err != nil || size < 0 || size > len(rest) {
			return "", nil, errors.New("ar archive is cut off or broken")
		}
		name := strings.TrimSuffix(strings.TrimSpace(string(header[:16])), "/")
		if strings.HasPrefix(name, prefix) {
			return name, rest[:size], nil
		}
		rest = rest[min(size+size%2, len(rest)):] // members begin at even offsets
	}
	return "", nil, fmt.Errorf("ar archive has no %s", prefix)
}

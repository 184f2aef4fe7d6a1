package work

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/berth-go/berth/agent/internal/layer"
)

// Added says what PackAdded packs.
type Added struct {
	Checkout string
	Index    string // the one that the checkout began with
	Commit   string // the base
	Home     string
	Dirs     []string // below the home
	// Files are files of the base that decide what is installed. It is an error if the session has changed one.
	Files []string
	Bytes int64 // bounds the contents
}

// AddedCheckout is the name of the checkout in what PackAdded writes.
const AddedCheckout = "checkout"

// AddedDir is the name of the directory of Added.Dirs with an index.
func AddedDir(i int) string { return fmt.Sprintf("dir%d", i) }

// PackAdded writes, as package layer does, what the session that it runs in has added to its checkout, and some directories of its home. The
// files of the base, its submodules and the repository are left out, whatever the session has made of them. The session's other processes are
// stopped meanwhile. spec is an Added in JSON.
func PackAdded(spec io.Reader, out io.Writer) error {
	var a Added
	if err := json.NewDecoder(spec).Decode(&a); err != nil {
		return err
	}
	resume, err := stopOthers()
	if err != nil {
		return err
	}
	defer resume()
	began, err := readBase(a.Index, idSize(a.Commit))
	if err != nil {
		return fmt.Errorf("it is not known any more with which files the session began: %w", err)
	}
	if err := a.unchanged(began); err != nil {
		return err
	}
	parts := []layer.Part{{
		Name: AddedCheckout, Dir: a.Checkout,
		Omit: func(at string, dir bool) bool {
			_, tracked := began.files[at]
			return tracked || at == ".git" || began.modules[at] || began.dirs[at] && !dir
		},
		Lean: func(at string) bool { return at != "." && began.dirs[at] },
	}}
	for i, dir := range a.Dirs {
		parts = append(parts, layer.Part{Name: AddedDir(i), Dir: filepath.Join(a.Home, dir)})
	}
	_, err = layer.PackParts(context.Background(), out, parts, layer.Limits{Bytes: a.Bytes})
	if errors.Is(err, layer.ErrTooLarge) {
		return errors.New("it is larger than MaxBytes")
	}
	return err
}

// unchanged returns an error if a file that decides is not that of the base any more.
func (a *Added) unchanged(began *base) error {
	root, err := os.OpenRoot(a.Checkout)
	if err != nil {
		return err
	}
	defer root.Close()
	var ids map[string][]byte
	for _, name := range a.Files {
		info, err := root.Lstat(name)
		if err == nil && began.same(name, info.Sys().(*syscall.Stat_t)) {
			continue
		}
		if ids == nil {
			if ids, err = idsOf(a.Index, idSize(a.Commit)); err != nil {
				return err
			}
		}
		id, err := blobID(root, name, idSize(a.Commit))
		if err != nil || !bytes.Equal(id, ids[name]) {
			return fmt.Errorf("%q, which decides what is installed, is not that of the commit with which the session began", name)
		}
	}
	return nil
}

// idsOf returns the IDs of the files in an index.
func idsOf(name string, idSize int) (map[string][]byte, error) {
	index, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	ids := make(map[string][]byte)
	err = eachEntry(index, idSize, func(e []byte, path string, _ uint16) { ids[path] = e[entryID : entryID+idSize] })
	return ids, err
}

// blobID returns the ID that git gives to the content of a file, or of a link.
func blobID(root *os.Root, name string, idSize int) ([]byte, error) {
	var content io.Reader
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if target, err := root.Readlink(name); err == nil {
		content, size = strings.NewReader(target), int64(len(target))
	} else {
		f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		content = f
	}
	sum := hash.Hash(sha1.New())
	if idSize == sha256.Size {
		sum = sha256.New()
	}
	fmt.Fprintf(sum, "blob %d\x00", size)
	if _, err := io.Copy(sum, content); err != nil {
		return nil, err
	}
	return sum.Sum(nil), nil
}

// isModule reports whether an entry of an index is a submodule.
func isModule(entry []byte) bool {
	return binary.BigEndian.Uint32(entry[entryMode:])&syscall.S_IFMT == 0o160000
}

package place

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/mirror"
)

// copyObjects copies the mirror's objects. Hard links would not work: the mirror is another file system, and a link shares its
// owner. A file that vanishes meanwhile was replaced by a pack that holds its objects. So packs are copied last, and a vanished
// file makes the copying begin again.
func copyObjects(to, from string, uid int) error {
	if err := fits(to, mirror.Tree{Bytes: packBytes(from)}); err != nil {
		return &git.Error{Op: "checkout", Message: fmt.Sprintf("a self-contained checkout has a copy of all objects: %v", err)}
	}
	for range 5 {
		err := copyLoose(to, from, uid)
		if err == nil {
			err = copyPacks(filepath.Join(to, "pack"), filepath.Join(from, "pack"), uid)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
			return &git.Error{Op: "checkout", Message: fmt.Sprintf("a self-contained checkout has a copy of all objects: %v", err)}
		}
		return err
	}
	return errors.New("the mirror's objects change faster than they can be copied")
}

// packBytes returns the size of the packs among the objects.
func packBytes(objects string) (bytes int64) {
	packs, _ := filepath.Glob(filepath.Join(objects, "pack", "pack-*"))
	for _, pack := range packs {
		if info, err := os.Stat(pack); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// copyLoose copies the objects that are in no pack, which a server without git (dumb HTTP) gives out. Each is a file in a
// directory that is called as its ID begins.
func copyLoose(to, from string, uid int) error {
	files, err := filepath.Glob(filepath.Join(from, "[0-9a-f][0-9a-f]", "[0-9a-f]*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		dir := filepath.Join(to, filepath.Base(filepath.Dir(file)))
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			err = os.Lchown(dir, uid, uid)
		} else if errors.Is(err, fs.ErrExist) {
			err = nil
		}
		if err == nil {
			err = copyFile(filepath.Join(dir, filepath.Base(file)), file, uid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyPacks copies each pack, then its index, without which git does not see it.
func copyPacks(to, from string, uid int) error {
	packs, err := filepath.Glob(filepath.Join(from, "pack-*.pack"))
	if err != nil {
		return err
	}
	for _, pack := range packs {
		for _, file := range []string{pack, strings.TrimSuffix(pack, ".pack") + ".idx"} {
			if err := copyFile(filepath.Join(to, filepath.Base(file)), file, uid); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyFile copies a file unless it was copied already. The content has its hash for a name.
func copyFile(to, from string, uid int) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in) // copy_file_range where the file systems know it
	return errors.Join(err, out.Chown(uid, uid), out.Close())
}

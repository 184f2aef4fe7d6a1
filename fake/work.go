package fake

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/berth-go/berth/agent"
)

// helps reports whether a command starts one of the agent's own programs, which is none of the session's commands.
func helps(c agent.Command) bool { return c.Files || c.Work != "" }

// said says why a program has failed, and returns its exit code.
func said(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(w, err)
	return 1
}

// packedFile is a file in packed work. The fake packs all files of the checkout, and not as the real agent does.
type packedFile struct {
	Name   string // relative to the checkout
	Mode   fs.FileMode
	Mtime  time.Time
	Data   []byte
	Target string
	Linked int // the number of the file, by which further names of it are known
}

// packWork writes the files of the checkout.
func (f *Files) packWork(out io.Writer, commit string) error {
	list := f.packed()
	head := agent.WorkHead{Version: 1, Commit: commit, Files: len(list)}
	for _, one := range list {
		head.Bytes += int64(len(one.Data))
	}
	encoder := json.NewEncoder(out)
	if err := encoder.Encode(head); err != nil {
		return err
	}
	return encoder.Encode(list)
}

func (f *Files) packed() (list []packedFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	top, _, err := f.find(f.at("."), true)
	if err != nil {
		return nil
	}
	numbers := make(map[*inode]int)
	var walk func(dir string, at *inode)
	walk = func(dir string, at *inode) {
		for _, name := range slices.Sorted(maps.Keys(at.below)) {
			n := at.below[name]
			if numbers[n] == 0 {
				numbers[n] = len(numbers) + 1
			}
			list = append(list, packedFile{path.Join(dir, name), n.mode, n.mtime, slices.Clone(n.data), n.target, numbers[n]})
			if n.below != nil {
				walk(path.Join(dir, name), n)
			}
		}
	}
	walk("", top)
	return list
}

// unpackWork makes the checkout what was packed.
func (f *Files) unpackWork(in io.Reader) error {
	r := bufio.NewReader(in)
	if _, err := agent.ReadWorkHead(r); err != nil {
		return err
	}
	var list []packedFile
	decoder := json.NewDecoder(r)
	if err := decoder.Decode(&list); err != nil {
		return fmt.Errorf("fake: the snapshot is refused: %w", err)
	}
	if rest, err := io.ReadAll(io.MultiReader(decoder.Buffered(), r)); err != nil || len(rest) > 1 {
		return errors.New("fake: the snapshot is refused: something follows its end")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	top := f.mkdirAll(f.at("."))
	top.below = make(map[string]*inode)
	made := make(map[int]*inode)
	for _, one := range list {
		if !fs.ValidPath(one.Name) || one.Name == "." {
			return errors.New("fake: the snapshot is refused: a file outside of the checkout")
		}
		dir := top
		if above := path.Dir(one.Name); above != "." {
			dir = f.mkdirAll(path.Join(f.at("."), above))
		}
		if dir == nil {
			return errors.New("fake: the snapshot is refused: a file in a file")
		}
		n := made[one.Linked]
		if n == nil {
			n = &inode{mode: one.Mode, mtime: one.Mtime, data: one.Data, target: one.Target}
			if one.Mode.IsDir() {
				n.below = make(map[string]*inode)
			}
			made[one.Linked] = n
		}
		dir.below[path.Base(one.Name)] = n
	}
	return nil
}

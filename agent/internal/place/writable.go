package place

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// nearRoot is the number of levels below the root that Writable reads: it finds /srv/app/cache, but not /srv/app/cache/new. To
// read all of a large image takes seconds, and deeper directories that all may write in are rare.
const nearRoot = 3

// Outside returns the directories that are in none of the excluded ones.
func Outside(excluded, dirs []string) []string {
	return slices.DeleteFunc(dirs, func(dir string) bool {
		return slices.ContainsFunc(excluded, func(top string) bool { return dir == top || strings.HasPrefix(dir, top+"/") })
	})
}

// Writable returns the directories that any uid may write in, for Clear: the usual ones, and those at most three levels below the
// root that are in no excluded directory. Clear sweeps everything below them.
func Writable(root string, excluded []string, usual ...string) []string {
	dirs := slices.Clone(usual)
	filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil: // it cannot be read, or is gone
			return fs.SkipDir
		case !entry.IsDir():
			return nil
		case slices.Contains(excluded, path):
			return fs.SkipDir
		case slices.Contains(dirs, path):
			return fs.SkipDir
		}
		info, err := os.Lstat(path)
		if err == nil && info.Mode().Perm()&0o002 != 0 && path != root {
			dirs = append(dirs, path)
			return fs.SkipDir
		}
		below, _ := filepath.Rel(root, path)
		if below != "." && strings.Count(below, "/")+1 >= nearRoot {
			return fs.SkipDir
		}
		return nil
	})
	return dirs
}

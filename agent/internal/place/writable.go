package place

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// nearRoot is how many levels below the root Writable looks: /srv/app/cache is found, /srv/app/cache/new is not. All of
// a large image would take seconds to look through; what lies deeper and is for all to write is rare.
const nearRoot = 3

// Writable finds the directories that any uid may write in, so that Clear looks there too: the usual ones, and those at
// most three levels below the root that are not in an excluded one. What is below one of them is swept with it.
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

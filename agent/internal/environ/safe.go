package environ

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// changeable reports whether a session can change the file or directory at a path: it may write to it, or in a directory above
// it. A directory with the sticky bit protects the files of other owners in it. A path that does not exist can be created in a
// directory that all may write in.
func changeable(path string) bool {
	if changeableAsWritten(path) {
		return true
	}
	real, err := filepath.EvalSymlinks(path)
	return err == nil && changeableAsWritten(real)
}

func changeableAsWritten(path string) bool {
	names := strings.Split(strings.Trim(filepath.Clean(path), "/"), "/")
	at := "/"
	for i, name := range names {
		at = filepath.Join(at, name)
		info, err := os.Stat(at)
		if err != nil {
			above, err := os.Stat(filepath.Dir(at))
			return err == nil && above.Mode().Perm()&0o002 != 0
		}
		if info.Mode().Perm()&0o002 != 0 && (i == len(names)-1 || info.Mode()&os.ModeSticky == 0) {
			return true
		}
	}
	return false
}

// splitPath parts a PATH into the directories whose programs no session can change, and the others.
func splitPath(path string) (safe, open []string) {
	for _, dir := range filepath.SplitList(path) {
		switch {
		case !filepath.IsAbs(dir) || changeable(dir):
			open = append(open, dir)
		default:
			safe = append(safe, dir)
		}
	}
	return safe, open
}

// SafePath returns the PATH by which the agent finds git: the image's PATH without directories in which a session could put
// another git. If the image has git only in such a directory, SafePath returns the whole PATH.
func (im *Image) SafePath() string { return im.git }

func gitPath(safe, open []string) string {
	path := safe
	if !has(safe, "git") && has(open, "git") {
		path = append(slices.Clone(safe), open...)
	}
	return strings.Join(path, string(filepath.ListSeparator))
}

// has reports whether one of some directories has a program.
func has(dirs []string, program string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		info, err := os.Stat(filepath.Join(dir, program))
		return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o001 != 0
	})
}

// usualPath is for images that set none.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// misleads reports whether a variable leads a program of the agent to a file that a session can change.
func misleads(value string) bool {
	for element := range strings.SplitSeq(value, ":") {
		if filepath.IsAbs(element) && changeable(element) {
			return true
		}
	}
	return false
}

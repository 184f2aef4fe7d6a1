package environ

import (
	"path/filepath"
	"slices"
	"strings"
)

// verdict says how a session gets a variable of the image.
type verdict int

const (
	keep    verdict = iota // it holds as it is
	leave                  // it is left out
	replace                // it names a place of the session's own
)

// decide returns the verdict on a variable of the image, and its value if it is kept. A list of directories loses those that no
// session can enter.
func decide(name, value string, homes []string, look func(string) state) (string, verdict) {
	if slices.Contains(ours, name) || name == "XDG_RUNTIME_DIR" || slices.Contains(repository, name) {
		return value, leave
	}
	if !filepath.IsAbs(value) || slices.Contains(certificates, canonical(name)) {
		return value, keep
	}
	if listed(name) {
		if name == "XDG_CONFIG_HOME" && settings(value, homes, look) {
			return value, keep
		}
		return value, replace
	}
	if strings.Contains(value, ":") {
		return decideList(value, look)
	}
	at := look(value)
	switch {
	case at.barrier != "":
		return value, leave
	case !at.exists && inHome(value, homes):
		return value, leave
	case !at.open || temporary(value):
		return value, keep
	case at.dir && (at.empty || isCache(name)):
		return value, replace
	case !at.exists && (isCache(name) || namesDirectory(name)):
		return value, replace
	}
	return value, keep
}

// decideList keeps the directories of a list that a session can enter.
func decideList(value string, look func(string) state) (string, verdict) {
	var kept []string
	for element := range strings.SplitSeq(value, ":") {
		if !filepath.IsAbs(element) || look(element).barrier == "" {
			kept = append(kept, element)
		}
	}
	if len(kept) == 0 {
		return value, leave
	}
	return strings.Join(kept, ":"), keep
}

// settings reports whether a directory is one that the image's author has made for all to read.
func settings(dir string, homes []string, look func(string) state) bool {
	at := look(dir)
	return at.dir && at.barrier == "" && !at.open && !inHome(dir, homes)
}

func inHome(path string, homes []string) bool {
	return slices.ContainsFunc(homes, func(home string) bool { _, ok := within(path, home); return ok })
}

// temporary reports whether a path lies in a directory where all users put files.
func temporary(path string) bool {
	return slices.ContainsFunc([]string{"/tmp", "/var/tmp", "/dev/shm", "/run/lock"}, func(dir string) bool {
		_, ok := within(path, dir)
		return ok
	})
}

// isCache reports whether a variable has a name for the place of a cache, whose content can be made again.
func isCache(name string) bool { return strings.Contains(strings.ToUpper(name), "CACHE") }

// namesDirectory reports whether a variable has a name for a directory.
func namesDirectory(name string) bool {
	for _, end := range []string{"HOME", "DIR", "DIRECTORY", "ROOT", "PATH", "FOLDER", "STORE"} {
		if strings.HasSuffix(strings.ToUpper(name), end) {
			return true
		}
	}
	return false
}

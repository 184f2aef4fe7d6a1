package environ

import (
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// state is what a path is to a uid that the image does not know: to "others".
type state struct {
	exists  bool
	dir     bool
	empty   bool   // a directory without entries
	barrier string // the first directory on the way, itself included, that others may not enter
	open    bool   // others may write in it; in the directory that would hold it, if it does not exist
}

// look looks at a path.
func look(path string) state {
	s := state{barrier: Barrier(path)}
	at := filepath.Clean(path)
	info, err := os.Stat(at)
	s.exists = err == nil
	for err != nil && at != "/" {
		at = filepath.Dir(at)
		info, err = os.Stat(at)
	}
	if err != nil {
		return s
	}
	s.dir = s.exists && info.IsDir()
	s.open = info.Mode().Perm()&0o002 != 0 && s.barrier == ""
	if s.dir {
		if d, err := os.Open(at); err == nil {
			_, err = d.Readdirnames(1)
			s.empty = err == io.EOF
			d.Close()
		}
	}
	return s
}

// Barrier returns the first directory on the way to a path, itself included, that only its owner or group may enter; ""
// if there is none. Links are followed.
func Barrier(path string) string {
	seen := closed(path)
	if seen != "" {
		return seen
	}
	// A path that does not exist has no links. Its parents may.
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return closed(real)
		}
		if at == "/" || at == "." {
			return ""
		}
	}
}

// closed does so for a path as it is written.
func closed(path string) string {
	at := "/"
	for name := range strings.SplitSeq(strings.Trim(filepath.Clean(path), "/"), "/") {
		at = filepath.Join(at, name)
		info, err := os.Stat(at)
		if err != nil {
			return ""
		}
		if info.IsDir() && info.Mode().Perm()&0o001 == 0 {
			return at
		}
	}
	return ""
}

// maxSeed bounds a file of settings.
const maxSeed = 64 << 10

// readSmall reads a small file that any uid may read, and none but its owner may write.
func readSmall(path string) ([]byte, bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o006 != 0o004 || info.Size() > maxSeed || Barrier(path) != "" {
		return nil, false
	}
	content, err := os.ReadFile(path)
	return content, err == nil
}

// downloaded returns where the Go modules are that the image has downloaded below a GOPATH or GOMODCACHE; "" if there
// are none, or if a session could change them.
func downloaded(name, dir string) string {
	switch name {
	case "GOPATH":
		dir = filepath.Join(dir, "pkg", "mod")
	case "GOMODCACHE":
	default:
		return ""
	}
	dir = filepath.Join(dir, "cache", "download")
	if at := look(dir); !at.dir || at.empty || at.open || at.barrier != "" {
		return ""
	}
	return dir
}

// modulesFirst returns a GOPROXY by which go takes modules from a directory, and those that are not there from where it
// would take them anyway.
func modulesFirst(dir string, set *variable) string {
	rest := "https://proxy.golang.org,direct" // go's own default
	if set != nil && set.value != "" {
		rest = set.value
	}
	return (&url.URL{Scheme: "file", Path: dir}).String() + "," + rest
}

// npmPrefix returns the directory that npm has global packages in by default: the one above that of the node that it
// finds. "" if the PATH has no npm.
func npmPrefix(path []string) string {
	prefix := ""
	npm := false
	for _, dir := range path {
		if !filepath.IsAbs(dir) {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "npm")); err == nil {
			npm = true
		}
		if node, err := filepath.EvalSymlinks(filepath.Join(dir, "node")); err == nil && prefix == "" {
			prefix = filepath.Dir(filepath.Dir(node))
		}
	}
	if !npm {
		return ""
	}
	return prefix
}

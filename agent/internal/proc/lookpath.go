package proc

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// lookPath returns the files that name may mean, in order. It does not check whether the uid may execute them.
func lookPath(name, path string) ([]string, error) {
	if strings.Contains(name, "/") {
		return []string{name}, nil
	}
	var found []string
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // the working directory is never searched, as in os/exec
		}
		file := filepath.Join(dir, name)
		info, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			found = append(found, file)
		}
	}
	if len(found) == 0 || name == "" {
		return nil, &os.PathError{Op: "exec", Path: name, Err: notFound{}}
	}
	return found, nil
}

// notFound is ENOENT with a better message.
type notFound struct{}

func (notFound) Error() string        { return "executable file not found in $PATH" }
func (notFound) Is(target error) bool { return target == syscall.ENOENT || target == os.ErrNotExist }

// lastOfEach drops entries that a later entry of the same key replaces, since programs use the first one.
func lastOfEach(env []string) []string {
	seen := make(map[string]bool, len(env))
	kept := make([]string, 0, len(env))
	for _, kv := range slices.Backward(env) {
		if key, _, ok := strings.Cut(kv, "="); ok && !seen[key] {
			seen[key] = true
			kept = append(kept, kv)
		}
	}
	slices.Reverse(kept)
	return kept
}

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Cache is a directory of packages that the sessions of a container share: each begins with the same files, and changes its own
// only. See Client.FillCaches.
type Cache struct {
	Name string // of at most 40 of a-z, 0-9 and '-'; unique
	Dir  string // where it is, below the home of a session: "go/pkg/mod". No cache is in another
	// Files are patterns of path.Match for paths of the repository: "go.sum", "*/go.sum". The cache is filled if the default branch
	// has such a file, and again when one has changed.
	Files []string
	// Fill is the command that fills the directory. It runs in a checkout of the default branch, in a room and under a uid of its
	// own, without any session's environment. It holds no secret.
	Fill     []string
	MaxBytes int64 // bounds the directory. A larger one is not shared. 0 = DefaultCacheBytes
}

// DefaultCacheBytes is the default of Cache.MaxBytes.
const DefaultCacheBytes = 4 << 30

// SharedDir is a cache as one session has it: the name of a Cache, and its directory below the session's home.
type SharedDir struct{ Name, Dir string }

// Fill is a request to fill caches.
type Fill struct {
	URL    string // of the repository; holds no credential
	Caches []Cache
	Env    map[string]string // of the commands that fill them; kept in the agent's memory only
}

// Filled says what a request to fill caches has done.
type Filled struct {
	Names  []string     // caches that were filled; the others were up to date, have no files, or are in Failed
	Failed []*FillError // caches that could not be filled; tried again after an hour, or when their files change
	// Unshared says why sessions have caches of their own instead of shared ones. "" = they share them, as far as this is known.
	Unshared string
	Size     int64 // bytes on disk of the mirror, with its caches
}

// FillError says why a cache was not filled. What sessions shared before, they still do.
type FillError struct{ Cache, Message string }

// Error implements error.
func (e *FillError) Error() string {
	return fmt.Sprintf("the cache %q was not filled: %s", e.Cache, e.Message)
}

// FillCaches fills caches whose files in the remote's default branch have changed since. It looks at the mirror as it is, and
// returns when all are filled, each after half an hour at most. Sessions that are opened afterwards share what was filled; those
// that are open keep what they have. progress, unless nil, is called from this goroutine.
//
// FillCaches returns errors.ErrUnsupported if the agent is too old to share caches.
func (c *Client) FillCaches(ctx context.Context, f Fill, progress func(Progress)) (Filled, error) {
	fill := &wire.Fill{URL: f.URL, Env: variables(f.Env)}
	for _, one := range f.Caches {
		fill.Caches = append(fill.Caches, wire.Cache{
			SharedDir: wire.SharedDir{Name: one.Name, Dir: one.Dir}, Files: one.Files, Fill: one.Fill, MaxBytes: cmp.Or(one.MaxBytes, DefaultCacheBytes),
		})
	}
	line, err := c.call(ctx, wire.Call{Op: wire.OpFill, Fill: fill}, progress)
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.CodeInvalid && e.Message == "unknown operation" {
		return Filled{}, fmt.Errorf("the agent is too old to share caches; a container that starts anew can: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return Filled{}, err
	}
	if line.Filled == nil {
		return Filled{}, errIncomplete
	}
	made := Filled{Names: line.Filled.Names, Unshared: gitremote.Line(line.Filled.Unshared, gitremote.MaxWords), Size: line.Filled.Size}
	for _, failed := range line.Filled.Failed {
		made.Failed = append(made.Failed, &FillError{Cache: failed.Name, Message: gitremote.Line(failed.Message, gitremote.MaxWords)})
	}
	return made, nil
}

// CheckCaches returns the index of a cache that cannot be used, as "[1]", and why; "" if all can.
func CheckCaches(caches []Cache) (field, reason string) {
	var dirs []SharedDir
	for _, c := range caches {
		dirs = append(dirs, SharedDir{Name: c.Name, Dir: c.Dir})
	}
	if at, reason := CheckSharedDirs(dirs); reason != "" {
		return fmt.Sprintf("[%d]", at), reason
	}
	for i, c := range caches {
		if reason := c.fault(); reason != "" {
			return fmt.Sprintf("[%d]", i), reason
		}
	}
	return "", ""
}

// CheckSharedDirs returns which of a session's caches it cannot have, and why; "" if it can have all.
func CheckSharedDirs(dirs []SharedDir) (at int, reason string) {
	all := make([]wire.SharedDir, len(dirs))
	for i, d := range dirs {
		all[i] = wire.SharedDir(d)
	}
	return wire.CheckCaches(all)
}

// fault says why a cache cannot be filled; "" if it can.
func (c Cache) fault() string {
	switch {
	case len(c.Files) == 0 || slices.ContainsFunc(c.Files, func(pattern string) bool {
		_, err := path.Match(pattern, "")
		return err != nil || pattern == ""
	}):
		return "its Files must be patterns of path.Match, at least one"
	case len(c.Fill) == 0 || c.Fill[0] == "" || strings.Contains(strings.Join(c.Fill, ""), "\x00"):
		return "its Fill must be a command"
	case c.MaxBytes < 0:
		return "its MaxBytes must not be negative"
	}
	return ""
}

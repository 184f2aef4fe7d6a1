package wire

import (
	"fmt"
	"path"
	"strings"
)

// SharedDir is a cache as a session has it: its name, and where it is below the session's home.
type SharedDir struct {
	Name string `json:"name"`
	Dir  string `json:"dir"`
}

// Fill is agent.Fill.
type Fill struct {
	URL    string   `json:"url"`
	Caches []Cache  `json:"caches"`
	Env    [][]byte `json:"env,omitempty"` // "key=value"
}

// Variables returns Env as strings.
func (f Fill) Variables() []string { return Fetch{Env: f.Env}.Variables() }

// Cache is agent.Cache.
type Cache struct {
	SharedDir
	Files    []string `json:"files"`
	Fill     []string `json:"fill"`
	MaxBytes int64    `json:"max_bytes"`
}

// Filled is agent.Filled.
type Filled struct {
	Names    []string     `json:"names,omitempty"`
	Failed   []FillFailed `json:"failed,omitempty"`
	Unshared string       `json:"unshared,omitempty"`
	Size     int64        `json:"size"`
}

// FillFailed is agent.FillError.
type FillFailed struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// MaxCaches bounds the caches of a session.
const MaxCaches = 32

// CheckCaches returns which of a session's caches it cannot have, and why: one outside of its home, or in another. reason is empty
// if it can have all.
func CheckCaches(caches []SharedDir) (at int, reason string) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	if len(caches) > MaxCaches {
		return MaxCaches, fmt.Sprintf("there may be %d caches", MaxCaches)
	}
	for i, c := range caches {
		below := c.Dir != "." && c.Dir != ".." && !path.IsAbs(c.Dir) && path.Clean(c.Dir) == c.Dir && !strings.HasPrefix(c.Dir, "../")
		switch {
		case c.Name == "" || len(c.Name) > 40 || strings.Trim(c.Name, letters) != "":
			return i, "its Name must be of 1 to 40 of a-z, 0-9 and '-'"
		case !below || len(c.Dir) > 200 || strings.ContainsFunc(c.Dir, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return i, "its Dir must be a clean path below the home, of at most 200 bytes"
		}
		for _, other := range caches[:i] {
			switch {
			case c.Name == other.Name:
				return i, "another cache has its Name"
			case strings.HasPrefix(c.Dir+"/", other.Dir+"/") || strings.HasPrefix(other.Dir+"/", c.Dir+"/"):
				return i, "its Dir is that of another cache, or one is in the other"
			}
		}
	}
	return 0, ""
}

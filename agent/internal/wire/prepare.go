package wire

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// Prepare is agent.Prepare, with the image of the container.
type Prepare struct {
	Run      [][]string    `json:"run"`
	Files    []string      `json:"files"`
	Dirs     []string      `json:"dirs,omitempty"`
	MaxBytes int64         `json:"max_bytes"`
	Timeout  time.Duration `json:"timeout"`
	Image    string        `json:"image,omitempty"`

	Devcontainer bool `json:"devcontainer,omitempty"`
}

// Preparation is agent.Preparation.
type Preparation struct {
	URL     string   `json:"url"`
	Branch  string   `json:"branch,omitempty"`
	Dir     string   `json:"dir"`
	Env     [][]byte `json:"env,omitempty"` // "key=value"
	Prepare Prepare  `json:"prepare"`
	Look    bool     `json:"look,omitempty"` // nothing is made
}

// Variables returns Env as strings.
func (p Preparation) Variables() []string { return Fetch{Env: p.Env}.Variables() }

// Promotion is agent.Promotion.
type Promotion struct {
	Session string   `json:"session"`
	Env     [][]byte `json:"env,omitempty"` // "key=value"
}

// Prepared is agent.Prepared.
type Prepared struct {
	Commit   string        `json:"commit,omitempty"`
	Made     bool          `json:"made,omitempty"`
	Took     time.Duration `json:"took,omitempty"`
	Bytes    int64         `json:"bytes,omitempty"`
	Failed   string        `json:"failed,omitempty"`
	Known    bool          `json:"known,omitempty"`
	Unshared string        `json:"unshared,omitempty"`
	Size     int64         `json:"size"`

	Unsupported []string `json:"unsupported,omitempty"`
	Key         string   `json:"key,omitempty"`
}

// LayerHead says what a layer was made of. It is the key of the layer in the agent's store.
type LayerHead struct {
	Commit  string   `json:"commit"`
	Branch  string   `json:"branch,omitempty"` // "" = the commit was asked for
	Default bool     `json:"default,omitempty"`
	Dirs    []string `json:"dirs,omitempty"`
}

// Bounds of a Prepare.
const (
	MaxPrepareDirs = 8
	maxRun         = 64
	maxPatterns    = 256
)

// CheckPrepare returns why a prepared layer cannot be made; "" if it can.
func CheckPrepare(p Prepare) (reason string) {
	if len(p.Run) > maxRun {
		return fmt.Sprintf("Run may have %d commands", maxRun)
	}
	for _, args := range p.Run {
		if len(args) == 0 || args[0] == "" {
			return "each command of Run must have a program"
		}
		for _, arg := range args {
			if strings.ContainsRune(arg, 0) {
				return "no argument of Run may hold NUL"
			}
		}
	}
	if len(p.Files) > maxPatterns {
		return fmt.Sprintf("Files may have %d patterns", maxPatterns)
	}
	for _, pattern := range p.Files {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return "Files must be patterns of path.Match"
		}
	}
	switch {
	case len(p.Dirs) > MaxPrepareDirs:
		return fmt.Sprintf("Dirs may have %d directories", MaxPrepareDirs)
	case p.MaxBytes < 0:
		return "MaxBytes must not be negative"
	case p.Timeout < 0:
		return "Timeout must not be negative"
	}
	if at, reason := CheckCaches(PreparedDirs(p.Dirs)); reason != "" {
		return fmt.Sprintf("Dirs[%d]: %s", at, reason)
	}
	return ""
}

// PreparedDirs returns the directories of a Prepare as those of caches.
func PreparedDirs(dirs []string) (all []SharedDir) {
	for i, dir := range dirs {
		all = append(all, SharedDir{Name: fmt.Sprintf("prepared-%d", i), Dir: dir})
	}
	return all
}

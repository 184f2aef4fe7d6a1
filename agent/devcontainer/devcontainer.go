// Package devcontainer reads what berth supports of a repository's devcontainer.json: the commands that prepare a workspace, and
// variables. The file comes from the repository, so it may be anything.
package devcontainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Path is where the file is in a repository.
const Path = ".devcontainer/devcontainer.json"

// The bounds of a file.
const (
	MaxBytes    = 64 << 10
	maxCommands = 32
	maxEnv      = 100
	maxNamed    = 30 // of what is not supported
)

// A File is what a devcontainer.json says, as far as it is supported.
type File struct {
	Run         [][]string // onCreateCommand, then updateContentCommand
	Env         []string   // containerEnv, then remoteEnv, as "key=value"
	Unsupported []string   // names of what is left out, in order
}

// ErrInvalid says that a file cannot be read.
var ErrInvalid = errors.New("devcontainer.json is not valid")

// Parse reads a file: JSON that may have comments and commas before closing brackets.
func Parse(text []byte) (File, error) {
	var f File
	if len(text) > MaxBytes {
		return f, fmt.Errorf("%w: it is longer than %d bytes", ErrInvalid, MaxBytes)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(plain(text), &all); err != nil {
		return f, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	for _, key := range []string{"onCreateCommand", "updateContentCommand"} {
		run, ok := commands(all[key])
		if f.Run = append(f.Run, run...); !ok {
			f.Unsupported = append(f.Unsupported, key)
		}
	}
	if len(f.Run) > maxCommands {
		return File{}, fmt.Errorf("%w: it has more than %d commands", ErrInvalid, maxCommands)
	}
	for _, key := range []string{"containerEnv", "remoteEnv"} {
		f.variables(key, all[key])
	}
	if len(f.Env) > maxEnv {
		return File{}, fmt.Errorf("%w: it has more than %d variables", ErrInvalid, maxEnv)
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		switch key {
		case "onCreateCommand", "updateContentCommand", "containerEnv", "remoteEnv", "name", "$schema":
		default:
			f.Unsupported = append(f.Unsupported, shown(key))
		}
	}
	if more := len(f.Unsupported) - maxNamed; more > 0 {
		f.Unsupported = append(f.Unsupported[:maxNamed], fmt.Sprintf("%d more", more))
	}
	return f, nil
}

// commands returns the commands of a key: a line for a shell, the arguments of a program, or an object of these, which run one after
// another in the order of their names.
func commands(value json.RawMessage) (run [][]string, ok bool) {
	var line string
	var args []string
	var several map[string]json.RawMessage
	switch {
	case len(value) == 0 || string(value) == "null":
		return nil, true
	case json.Unmarshal(value, &line) == nil:
		args = []string{"sh", "-c", line}
		if strings.TrimSpace(line) == "" {
			return nil, true
		}
	case json.Unmarshal(value, &args) == nil:
	case json.Unmarshal(value, &several) == nil:
		for _, name := range slices.Sorted(maps.Keys(several)) {
			if strings.HasPrefix(strings.TrimSpace(string(several[name])), "{") {
				return nil, false
			}
			one, fine := commands(several[name])
			if !fine {
				return nil, false
			}
			run = append(run, one...)
		}
		return run, true
	default:
		return nil, false
	}
	if len(args) == 0 || args[0] == "" || strings.ContainsRune(strings.Join(args, ""), 0) {
		return nil, false
	}
	return [][]string{args}, true
}

// own are variables that the session sets.
var own = []string{"HOME", "TMPDIR", "USER", "LOGNAME", "SHELL", "PATH"}

// variables adds those of a key. One whose value refers to others is not supported.
func (f *File) variables(key string, value json.RawMessage) {
	if len(value) == 0 || string(value) == "null" {
		return
	}
	var env map[string]string
	if json.Unmarshal(value, &env) != nil {
		f.Unsupported = append(f.Unsupported, key)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		v := env[name]
		if !isName(name) || slices.Contains(own, name) || strings.Contains(v, "${") || strings.ContainsRune(v, 0) {
			f.Unsupported = append(f.Unsupported, key+"."+shown(name))
			continue
		}
		f.Env = append(f.Env, name+"="+v)
	}
}

func isName(s string) bool {
	return s != "" && len(s) <= 100 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == "" && (s[0] < '0' || s[0] > '9')
}

// shown is a key as a message may have it.
func shown(key string) string {
	key = strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return '?'
	}, key)
	return key[:min(len(key), 60)]
}

// plain takes comments out of a text, and commas before closing brackets.
func plain(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"':
			end := i + 1
			for end < len(text) && text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(text)-1)
			out = append(out, text[i:end+1]...)
			i = end
		case c == '/' && i+1 < len(text) && text[i+1] == '/':
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case c == '/' && i+1 < len(text) && text[i+1] == '*':
			for i += 2; i < len(text) && !(text[i] == '/' && text[i-1] == '*'); i++ {
			}
		case c == '}' || c == ']':
			at := len(out)
			for at > 0 && strings.IndexByte(" \t\r\n", out[at-1]) >= 0 {
				at--
			}
			if at > 0 && out[at-1] == ',' {
				out[at-1] = ' '
			}
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	return out
}

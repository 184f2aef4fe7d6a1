// Package secrets is a kit for tests: it makes secrets to plant, and searches for them wherever berth writes, shows or
// leaves something. No program links it.
//
// A search that looks nowhere finds nothing. So a test plants one more secret, leaks it on purpose in each place, and
// checks that the search has found it there: see [Search.Check].
package secrets

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Search has the planted secrets and what was found of them. Its methods may be called by several goroutines.
type Search struct {
	mu      sync.Mutex // protects what follows
	planted []planted
	found   map[string]map[string]string // by place and secret: where exactly
}

type planted struct {
	name  string
	forms [][]byte
}

// New returns a Search without secrets.
func New() *Search { return &Search{found: make(map[string]map[string]string)} }

// Plant makes a secret of that name. It has letters and digits only, so that no quoting and no encoding of URLs changes
// it; a test may add other characters to it.
func (s *Search) Plant(name string) string {
	value := "Planted" + rand.Text()
	s.Add(name, []byte(value))
	return value
}

// Key makes a secret of n random bytes.
func (s *Search) Key(name string, n int) []byte {
	key := make([]byte, n)
	rand.Read(key)
	s.Add(name, key)
	return key
}

// Add makes a value one of the secrets.
func (s *Search) Add(name string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planted = append(s.planted, planted{name, forms(value)})
}

// forms returns how a secret may be spelled within a text.
func forms(value []byte) [][]byte {
	all := [][]byte{value}
	add := func(form string) { all = append(all, []byte(form)) }
	code := hex.EncodeToString(value)
	add(code)
	add(strings.ToUpper(code))
	add(strings.Trim(fmt.Sprint(value), "[]"))                                // as fmt prints bytes
	add(strings.ReplaceAll(strings.Trim(fmt.Sprint(value), "[]"), " ", ", ")) // as a list
	add(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", value), "[]byte{"), "}"))
	// Base64 spells a secret in three ways, by the offset at which it begins. The first and the last characters also
	// depend on its neighbours.
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for offset := range 3 {
			code := encoding.EncodeToString(append(make([]byte, offset), value...))
			add(code[4 : len(code)-4])
		}
	}
	return all
}

// Look searches a text. place is a kind of place, such as "the log"; where names the one that the text is from.
func (s *Search) Look(place, where string, text []byte) {
	s.LookBut(place, where, text, nil)
}

// LookBut is Look in a place that may have some secrets by design.
func (s *Search) LookBut(place, where string, text []byte, allowed func(secret string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.planted {
		if _, known := s.found[place][p.name]; known || allowed != nil && allowed(p.name) {
			continue
		}
		for _, form := range p.forms {
			if at := bytes.Index(text, form); at >= 0 {
				if s.found[place] == nil {
					s.found[place] = make(map[string]string)
				}
				s.found[place][p.name] = fmt.Sprintf("%s: …%q…", where, text[max(0, at-100):min(len(text), at+len(form)+60)])
				break
			}
		}
	}
}

// Write looks at what a log writes, so that a Search can be the end of a slog.Handler. A record is one call.
func (s *Search) Write(line []byte) (int, error) {
	s.Look("the log", "a line", line)
	return len(line), nil
}

// Found reports whether a secret was found in a place.
func (s *Search) Found(place, secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.found[place][secret]
	return found
}

// Check returns what is wrong: the secrets that were found, and the places where the control was not. The control is a
// secret that was leaked on purpose in each of the places.
func (s *Search) Check(control string, places ...string) (faults []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, place := range slices.Sorted(maps.Keys(s.found)) {
		for _, secret := range slices.Sorted(maps.Keys(s.found[place])) {
			if secret != control {
				faults = append(faults, fmt.Sprintf("%s is in %s: %s", secret, place, s.found[place][secret]))
			}
		}
	}
	for _, place := range places {
		if _, ok := s.found[place][control]; !ok {
			faults = append(faults, "the search did not find what was leaked on purpose in "+place)
		}
	}
	return faults
}

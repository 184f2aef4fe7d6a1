package workspace

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A debPackage is one paragraph of a Debian package index.
type debPackage struct {
	Name     string
	Version  string
	Filename string     // relative to the mirror
	SHA256   string     // in hex
	Size     int64      // of the .deb, in bytes
	depends  [][]string // every group needs one of its names
	provides []string
}

// An index finds packages by their names and by the names that they provide.
type index struct {
	byName   map[string]*debPackage
	provider map[string][]*debPackage
}

// readIndex reads a Packages file.
func readIndex(r io.Reader) (*index, error) {
	ix := &index{byName: make(map[string]*debPackage), provider: make(map[string][]*debPackage)}
	p := &debPackage{}
	end := func() {
		if p.Name != "" {
			ix.byName[p.Name] = p
			for _, name := range p.provides {
				ix.provider[name] = append(ix.provider[name], p)
			}
		}
		p = &debPackage{}
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), 4<<20) // a Depends line may be long
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			end()
			continue
		}
		field, value, found := strings.Cut(line, ": ")
		if !found || line[0] == ' ' {
			continue
		}
		if err := p.set(field, value); err != nil {
			return nil, fmt.Errorf("package index, %s: %w", p.Name, err)
		}
	}
	end()
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("package index: %w", err)
	}
	return ix, nil
}

// set sets one field of a package from a paragraph.
func (p *debPackage) set(field, value string) (err error) {
	switch field {
	case "Package":
		p.Name = value
	case "Version":
		p.Version = value
	case "Filename":
		p.Filename = value
	case "SHA256":
		p.SHA256 = value
	case "Size":
		p.Size, err = strconv.ParseInt(value, 10, 64)
	case "Depends", "Pre-Depends":
		p.depends = append(p.depends, relations(value)...)
	case "Provides":
		for _, group := range relations(value) {
			p.provides = append(p.provides, group...)
		}
	}
	return err
}

// relations reads "a (>= 1), b | c:any" as [[a] [b c]]. It ignores versions, because within one release they always
// match.
func relations(value string) [][]string {
	var groups [][]string
	for group := range strings.SplitSeq(value, ",") {
		var names []string
		for name := range strings.SplitSeq(group, "|") {
			name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
			name, _, _ = strings.Cut(name, ":")
			if name != "" {
				names = append(names, name)
			}
		}
		if names != nil {
			groups = append(groups, names)
		}
	}
	return groups
}

// closure returns the named packages and all their dependencies, except the packages in skip, in a stable order.
func (ix *index) closure(roots []string, skip map[string]bool) ([]*debPackage, error) {
	var (
		chosen []*debPackage
		taken  = make(map[string]bool)
		visit  func(group []string, wantedBy string) error
	)
	visit = func(group []string, wantedBy string) error {
		for _, name := range group {
			if skip[name] || taken[name] {
				return nil
			}
		}
		p := ix.first(group)
		if p == nil {
			return fmt.Errorf("no package offers %s, which %s needs", strings.Join(group, " or "), wantedBy)
		}
		if skip[p.Name] || taken[p.Name] {
			return nil
		}
		taken[p.Name] = true
		for _, name := range p.provides {
			taken[name] = true
		}
		chosen = append(chosen, p)
		for _, group := range p.depends {
			if err := visit(group, p.Name); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range roots {
		if err := visit([]string{name}, "the image"); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

// first returns the first package that has or provides one of the names.
func (ix *index) first(names []string) *debPackage {
	for _, name := range names {
		if p := ix.byName[name]; p != nil {
			return p
		}
		if p := ix.provider[name]; len(p) > 0 {
			return p[0]
		}
	}
	return nil
}

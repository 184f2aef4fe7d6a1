package workspace

import (
	"strings"
	"testing"
)

const sampleIndex = `Package: git
Version: 1:2.39
Depends: libc6 (>= 2.34), perl, zlib1g:any | zlib-ng, editor
Description: revision control
 with a second line: and a colon
Filename: pool/g/git.deb
Size: 12
SHA256: aa

Package: libc6
Pre-Depends: git | nothing
Filename: pool/c/libc6.deb
Size: 3

Package: zlib1g
Depends: libc6

Package: nano
Provides: editor (= 1), tiny-editor
Depends: libc6
`

func TestClosureFollowsDependencies(t *testing.T) {
	ix, err := readIndex(strings.NewReader(sampleIndex))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		roots, skip []string
		want        string // names in order, or an error
	}{
		"all that is needed, in order":   {[]string{"git"}, []string{"perl"}, "git libc6 zlib1g nano"},
		"what is skipped is not needed":  {[]string{"git"}, []string{"perl", "editor", "zlib-ng"}, "git libc6"},
		"a root twice":                   {[]string{"libc6", "libc6"}, []string{"git"}, "libc6"},
		"a missing package is named":     {[]string{"git"}, nil, "no package offers perl, which git needs"},
		"a root that does not exist":     {[]string{"hg"}, nil, "no package offers hg, which the image needs"},
		"a virtual package as a root":    {[]string{"tiny-editor"}, []string{"git"}, "nano libc6"},
		"a circle of two packages ends":  {[]string{"libc6"}, []string{"perl", "zlib1g", "editor"}, "libc6 git"},
		"a provider that is skipped too": {[]string{"editor"}, []string{"nano"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			skip := make(map[string]bool)
			for _, s := range c.skip {
				skip[s] = true
			}
			packages, err := ix.closure(c.roots, skip)
			var names []string
			for _, p := range packages {
				names = append(names, p.Name)
			}
			got := strings.Join(names, " ")
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if p := ix.byName["git"]; p.Filename != "pool/g/git.deb" || p.Size != 12 || p.SHA256 != "aa" {
		t.Errorf("git is read as %+v", p)
	}
}

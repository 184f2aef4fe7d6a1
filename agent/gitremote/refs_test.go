package gitremote

import (
	"slices"
	"strings"
	"testing"
)

func TestCandidates(t *testing.T) {
	for name, want := range map[string]string{
		"main":                        "refs/heads/main refs/tags/main",
		"topic/one":                   "refs/heads/topic/one refs/tags/topic/one",
		"refs/heads/main":             "refs/heads/refs/heads/main refs/tags/refs/heads/main refs/heads/main",
		"refs/tags/v1":                "refs/heads/refs/tags/v1 refs/tags/refs/tags/v1 refs/tags/v1",
		"refs/remotes/origin/a/b":     "refs/heads/refs/remotes/origin/a/b refs/tags/refs/remotes/origin/a/b refs/heads/a/b",
		"origin/main":                 "refs/heads/origin/main refs/tags/origin/main refs/heads/main",
		"heads/main":                  "refs/heads/heads/main refs/tags/heads/main refs/heads/main",
		"tags/v1":                     "refs/heads/tags/v1 refs/tags/tags/v1 refs/tags/v1",
		"upstream/main":               "refs/heads/upstream/main refs/tags/upstream/main",
		"refs/remotes/upstream/main":  "refs/heads/refs/remotes/upstream/main refs/tags/refs/remotes/upstream/main",
		"refs/heads/refs/heads/again": "refs/heads/refs/heads/refs/heads/again refs/tags/refs/heads/refs/heads/again refs/heads/refs/heads/again",
	} {
		if got := Candidates(name); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestIsCommit(t *testing.T) {
	for name, want := range map[string][2]bool{ // abbreviated, full
		strings.Repeat("a1", 20): {true, true}, strings.Repeat("A1", 32): {true, true}, "abcdef0": {true, false},
		"abcdef": {false, false}, strings.Repeat("a", 65): {false, false}, strings.Repeat("g", 40): {false, false}, "": {false, false},
		strings.Repeat("a", 41): {true, false},
	} {
		if IsAbbreviation(name) != want[0] || IsCommit(name) != want[1] {
			t.Errorf("%q: %v, %v", name, IsAbbreviation(name), IsCommit(name))
		}
	}
}

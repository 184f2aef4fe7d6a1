package naming_test

import "testing"

// TestPages holds that the address of a page is refused.
func TestPages(t *testing.T) {
	for _, remote := range []string{
		// Of any host.
		"https://github.host.xz/o/r/tree/main", "https://github.host.xz/o/r/pull/5", "https://github.host.xz/o/r/issues/new", "https://github.host.xz/o/r/commit/0123abc",
		"https://github.host.xz/o/r/releases/tag/v1.0", "https://github.host.xz/o/r/archive/refs/heads/main.zip", "https://gitlab.host.xz/g/s/r/-/tree/main",
		"https://codeberg.org/o/r/src/branch/main", "https://gitea.host.xz/o/r/src/branch/main/x.go", "https://gitea.host.xz/o/r/pulls/5",
		"https://gitiles.host.xz/r/sub/+/refs/heads/main", "https://gitiles.host.xz/r/+/main", "https://gitiles.host.xz/r/sub/+log/main", "https://gitiles.host.xz/r/+refs",
		"https://bitbucket.host.xz/projects/P/repos/r", "https://bitbucket.host.xz/users/jane/repos/r/browse", "https://host.xz/context/projects/P/repos/r/commits",
		"https://host.xz/r.git/tree/Makefile", "https://host.xz/o/r.git/tree", "https://host.xz/o/r.git/info/refs", "https://host.xz/o/r.git/git-upload-pack",

		// Of gitlab.com, which reserves some words and still serves pages at others.
		"https://gitlab.com/g/r/blob", "https://gitlab.com/g/r/Tree/main", "https://gitlab.com/g/r/raw/main/x.git", "https://gitlab.com/g/r/wikis", "https://gitlab.com/g/r/wikis/home",
		"https://gitlab.com/g/s/r/issues/12", "https://gitlab.com/g/r/merge_requests/12", "https://gitlab.com/g/r/commit/0123abc",
		"https://gitlab.com/g/r/repository/archive.tar.gz", "https://gitlab.com/g/r/repository/main/archive.zip",
	} {
		wantRefused(t, remote)
	}
}

// TestNamesLikePages holds that a repository is not taken for a page because of
// the names around it.
func TestNamesLikePages(t *testing.T) {
	for remote, want := range map[string]string{
		"https://host.xz/users/jane/repos/tool.git":   "host.xz/users/jane/repos/tool",
		"https://host.xz/projects/x/repos/tool.git":   "host.xz/projects/x/repos/tool",
		"https://host.xz/git/projects/x/repos/t.git/": "host.xz/git/projects/x/repos/t",
		"ssh://git@host.xz/users/jane/repos/tool":     "host.xz/users/jane/repos/tool",
		"git@host.xz:projects/x/repos/tool":           "host.xz/projects/x/repos/tool",
		"https://host.xz/group/src/repo":              "host.xz/group/src/repo",
		"https://host.xz/group/sub/src/repo":          "host.xz/group/sub/src/repo",
		"https://host.xz/group/sub/raw/repo.git":      "host.xz/group/sub/raw/repo",
		"https://host.xz/group/sub/releases/repo":     "host.xz/group/sub/releases/repo",
		"https://host.xz/group/sub/issues":            "host.xz/group/sub/issues",
		"https://host.xz/tree/blob":                   "host.xz/tree/blob",
		"https://host.xz/~jane/project/+git/repo":     "host.xz/~jane/project/+git/repo",
		"ssh://git@host.xz/srv/git/raw/repo":          "host.xz/srv/git/raw/repo",
		"ssh://git@host.xz/srv/r.git/hooks-of-r":      "host.xz/srv/r.git/hooks-of-r",
		"https://gitlab.com/g/s/issues":               "gitlab.com/g/s/issues",
		"https://gitlab.com/g/s/merge_requests":       "gitlab.com/g/s/merge_requests",
		"https://gitlab.com/g/issues/issues.git":      "gitlab.com/g/issues/issues",
		"https://gitlab.com/g/s/commit/r.git":         "gitlab.com/g/s/commit/r",
		"https://gitlab.com/g/s/pull/r.git":           "gitlab.com/g/s/pull/r",
		"https://gitlab.com/g/s/merge_requests/r.git": "gitlab.com/g/s/merge_requests/r",
		"https://gitlab.com/g/repository/r":           "gitlab.com/g/repository/r",
		"https://gitlab.com/g/archive.git":            "gitlab.com/g/archive",
		"https://gitlab.com/g/s/archive.tools":        "gitlab.com/g/s/archive.tools",
		"https://gitlab.com/g/r.wiki.git":             "gitlab.com/g/r.wiki",
		"https://gitlab.com/g/projects/p/repos/r":     "gitlab.com/g/projects/p/repos/r",
	} {
		wantIdentity(t, remote, want)
	}
}

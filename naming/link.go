package naming

import (
	"slices"
	"strings"
)

// pageWords are the elements between a repository and the subject of a page about it, at GitHub, GitLab, Gitea, cgit
// and others. A group may have such a name.
var pageWords = []string{"tree", "blob", "raw", "blame", "commit", "commits", "edit", "issues", "pull", "pulls", "merge_requests"}

// pagePairs are pairs of elements in the place of a page word. Each alone is a likely name.
var pagePairs = map[string][]string{
	"src":      {"branch", "commit", "tag"}, // Gitea, Forgejo
	"releases": {"tag", "download"},
	"archive":  {"refs"},
}

// gitlabReserved are words that GitLab does not allow as the name of a subgroup or a project.
var gitlabReserved = []string{
	"badges", "blame", "blob", "builds", "commits", "create", "create_dir", "edit", "files", "find_file",
	"new", "preview", "raw", "refs", "tree", "update", "wikis",
}

// gitilesWords are the elements between a repository and its pages in Gitiles.
var gitilesWords = []string{"+", "+archive", "+blame", "+diff", "+log", "+refs", "+show"}

// isBrowserLink reports whether an http path is that of a page about a repository. If such a path were taken for a
// repository, each page would get a container of its own, and a fetch that fails.
func isBrowserLink(host string, elems []string) bool {
	last := len(elems) - 1
	for i, elem := range elems {
		reserved := host == "gitlab.com" && slices.Contains(gitlabReserved, lowerASCII(elem))
		if i >= 1 && (reserved || slices.Contains(gitilesWords, elem)) {
			return true
		}
	}
	if strings.HasSuffix(elems[last], ".git") {
		return false // groups may have the names below, and no page has this ending
	}
	for i, elem := range elems {
		switch {
		case i < last && strings.HasSuffix(elem, ".git"):
			return true // things that a server offers below a repository: refs, a wiki, a file
		case i >= 2 && elem == "repos" && forgeOf(host) == nil && (elems[i-2] == "projects" || elems[i-2] == "users"):
			return true // Bitbucket Server: projects/OWNER/repos/NAME
		case i >= 2 && i < last && slices.Contains(pageWords, elem):
			return true // a page needs a subject, so the last element is a name
		case i >= 2 && i < last && slices.Contains(pagePairs[elem], elems[i+1]):
			return true
		case i >= 2 && i < last && elem == "repository" && host == "gitlab.com" && strings.HasPrefix(elems[last], "archive."):
			return true // a download
		}
	}
	return false
}

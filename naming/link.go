package naming

import "strings"

// isBrowserLink reports whether an http path is that of a page about a
// repository. Taken for a repository, each page of it would get a container
// of its own, and a fetch that fails.
func isBrowserLink(host string, elems []string) bool {
	for i, elem := range elems {
		if i >= 2 && elem == "repos" && (elems[i-2] == "projects" || elems[i-2] == "users") {
			return true // Bitbucket Server: projects/OWNER/repos/NAME
		}
	}
	end := len(elems) - 1 // a page needs something to show, so the last element is a name
	if host == "gitlab.com" {
		if strings.HasPrefix(elems[end], "archive.") {
			return true // a download
		}
		end = len(elems) // there the words below cannot be names
	} else if strings.HasSuffix(elems[end], ".git") {
		return false // groups may have such names, and pages do not end so
	}
	for i := 2; i < end; i++ {
		switch elems[i] {
		case "tree", "blob", "raw", "blame", "commit", "commits", "edit", "issues", "pull", "merge_requests":
			return true // GitHub, GitLab
		case "+":
			return true // Gitiles
		case "src":
			switch elems[min(i+1, len(elems)-1)] {
			case "branch", "commit", "tag":
				return true // Gitea, Forgejo
			}
		}
	}
	return false
}

package naming

import (
	"slices"
	"strings"
)

// azureHost is the host of every Azure DevOps identity.
const azureHost = "dev.azure.com"

const (
	azureOldSuffix = ".visualstudio.com" // organisation.visualstudio.com
	azureOldSSH    = "vs-ssh.visualstudio.com"
	azureSSH       = "ssh.dev.azure.com"
)

func isAzureSSH(host string) bool {
	return host == azureSSH || host == azureOldSSH
}

func isAzure(host string) bool {
	return host == azureHost || isAzureSSH(host) || strings.HasSuffix(host, azureOldSuffix)
}

// azureElements returns organisation, project and repository of
//
//	https://dev.azure.com/ORG/PROJECT/_git/REPO
//	https://dev.azure.com/ORG/PROJECT/TEAM/_git/REPO    the team is a view of the project
//	https://dev.azure.com/ORG/_git/REPO                 the project has the repository's name
//	https://ORG.visualstudio.com/...                    likewise, without ORG in the path
//	git@ssh.dev.azure.com:v3/ORG/PROJECT/REPO           and vs-ssh.visualstudio.com
//	ssh://ORG@vs-ssh.visualstudio.com/PROJECT/_ssh/REPO before v3
//
// where DefaultCollection may stand before the project, and _full or _optimized,
// which choose the refs that are offered, before the repository.
//
// The names keep the case that they have in the remote, although Azure DevOps ignores case. A host has no case, so
// ORG.visualstudio.com gives the organisation in lower case, and equals the other forms only if they are written in
// lower case.
func azureElements(s *spelling, elems []string) ([]string, error) {
	errForm := badRemote("Azure DevOps needs organisation/project/_git/repository over https, v3/organisation/project/repository over ssh")
	if n := len(elems); n > 2 && isAzureWord(elems[n-2], "_full", "_optimized") {
		elems = append(elems[:n-2:n-2], elems[n-1])
	}
	var org string
	switch {
	case isAzureSSH(s.host) && s.transport != "ssh":
		return nil, errForm // there the user may be a token, and must not become the organisation
	case isAzureSSH(s.host) && isAzureWord(elems[0], "v3"):
		if len(elems) != 4 {
			return nil, errForm
		}
		return elems[1:], nil
	case s.host == azureOldSSH:
		org = s.user // the old form names the organisation only here
	case s.host == azureHost:
		org, elems = elems[0], elems[1:]
	case strings.HasSuffix(s.host, azureOldSuffix):
		org = strings.TrimSuffix(s.host, azureOldSuffix)
	}
	if len(elems) > 0 && isAzureWord(elems[0], "DefaultCollection") {
		elems = elems[1:]
	}
	n := len(elems)
	if org == "" || n < 2 || n > 4 || !isAzureWord(elems[n-2], "_git", "_ssh") {
		return nil, errForm
	}
	project, repository := elems[0], elems[n-1]
	switch n {
	case 2:
		project = strings.TrimSuffix(repository, ".git") // as identify does with the repository
	case 4:
		// The element is no part of the identity, but a ".." in it would change the repository that is fetched.
		if err := checkElements(elems[1:2], forges[azureHost].alsoInNames); err != nil {
			return nil, err
		}
	}
	return []string{org, project, repository}, nil
}

// isAzureWord reports whether elem is one of words, ignoring case.
func isAzureWord(elem string, words ...string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.EqualFold(elem, word) })
}

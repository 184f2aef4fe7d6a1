package gitremote

import "regexp"

// Refused reports whether a fetch that failed with this message was refused by the remote: the credential is missing or wrong, or
// it does not read the repository, or there is no such repository. Forges do not tell these apart.
func Refused(message string) bool {
	if Passing(message) {
		return false
	}
	message = withoutNames(message)
	if contains(message, refusals) {
		return true
	}
	for _, match := range serverStatus.FindAllStringSubmatch(message, -1) {
		if code := match[1]; code == "401" || code == "403" || code == "404" || code == "410" {
			return true
		}
	}
	return false
}

// serverStatus is status for a server, and not for a proxy.
var serverStatus = regexp.MustCompile(`returned error: ([1-5][0-9][0-9])\b`)

// refusals have the words of git, of OpenSSH, and of the servers of forges.
var refusals = []string{
	"Authentication failed",
	"could not read Username",
	"could not read Password",
	"Permission denied (",
	"Too many authentication failures",
	"epository not found",
	"epository '' not found", // git's words; the name is left out
	"does not appear to be a git repository",
	"ccess denied",
}

package naming

import "strings"

// homeOf decides whether a path begins in the home directory of the ssh login, and returns that login and the path
// within the home. login is empty for a path that names the same repository for all logins: see the package comment.
func homeOf(s *spelling, elems []string) (login string, path []string, err error) {
	if s.transport != "ssh" || s.user == "" {
		return "", elems, nil // without a login, ssh uses the agent's own for all tasks
	}
	if elems[0] == "~" {
		if len(elems) == 1 {
			return "", nil, badRemote("its path is a home directory; name the repository in it")
		}
		return s.user, elems[1:], nil
	}
	relative := s.scp && !strings.HasPrefix(s.path, "/") && !strings.HasPrefix(s.path, "~")
	isPort := len(elems) > 1 && elems[0] == gerritPort
	if relative && !isPort && !isSharedLogin(s.user) {
		return s.user, elems, nil
	}
	return "", elems, nil
}

// gerritPort is the ssh port of Gerrit, where all logins share the repositories. In the scp form, git takes the number
// for a directory, but people mean the port. Any other number is a directory.
const gerritPort = "29418"

// isSharedLogin reports whether all users of a server share a login. Hosting services use git. GitHub uses org-1234 for
// users with certificates of an organisation's own. Documentation uses user.
func isSharedLogin(login string) bool {
	number, isOrg := strings.CutPrefix(login, "org-")
	return login == "git" || login == "user" || isOrg && isDigits(number)
}

// isCanonicalHome reports whether homeOf can return the login of r.
func isCanonicalHome(r Repository) bool {
	// Port 22 is no part of an ssh identity, and other transports have no login.
	return checkSSHUser(r.Login) == nil && forgeOf(r.Host) == nil && !strings.HasSuffix(r.Host, ":22")
}

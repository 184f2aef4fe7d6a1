package naming

import (
	"strings"
	"unicode"
)

// setUserinfo reads the userinfo of a URL, which may be empty.
func (s *spelling) setUserinfo(userinfo string) error {
	user, password, _ := strings.Cut(userinfo, ":")
	user, password = decodeLoosely(user), decodeLoosely(password)
	switch {
	case strings.ContainsFunc(user, isInvisible) || strings.ContainsFunc(password, unicode.IsControl):
		// Git's credential helpers take one value per line. A user is also shown to people.
		return badRemote("its userinfo holds a control character, or a user with characters that are not seen")
	case posesAsHost(user, password):
		return badRemote("its userinfo looks like a host; nothing but a user and a password may stand before the '@'")
	case s.transport == "ssh" && user != "":
		if err := checkSSHUser(user); err != nil {
			return err
		}
	}
	s.user, s.password = user, password
	return nil
}

// checkSSHUser accepts a user that is safe as an argument of ssh, even within a shell. It may contain an '@', as in
// john@example.org@host.
func checkSSHUser(user string) error {
	bad := func(r rune) bool { return !isAlnum(r) && !strings.ContainsRune("._-+=~@", r) }
	if user[0] == '-' || strings.ContainsFunc(user, bad) {
		return badRemote("the ssh user must be of letters, digits and . _ - + = ~ @, and not start with '-'")
	}
	if posesAsHost(user, "") {
		return badRemote("its user looks like a host")
	}
	return nil
}

// decodeLoosely resolves percent-encoding as git does in userinfo: an incomplete escape stands for itself.
func decodeLoosely(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

package naming

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// posesAsHost reports whether userinfo, which is decoded, seems made to be read
// as the host, as in https://github.com:443@evil.example/o/r. A forge that is
// known is looked for wherever a reader would see it; of other hosts, users and
// passwords can be told apart only by their form.
func posesAsHost(user, password string) bool {
	if user == "" && password == "" {
		return false
	}
	user, password = foldForReaders(user), foldForReaders(password)
	if strings.ContainsAny(user, "[]") || showsForge(user) {
		return true
	}
	// What follows "user:" is read as a password, up to what ends one in a URL.
	if i := strings.IndexAny(password, "@/"); user == "" && showsForge(password) || i >= 0 && showsForge(password[i:]) {
		return true
	}
	text := user
	if password != "" {
		text += ":" + password
	}
	return startsLikeURL(text)
}

// otherDots are what browsers take for '.' in a host (the IDEOGRAPHIC, the
// FULLWIDTH and the HALFWIDTH FULL STOP) and what looks like it (ONE DOT LEADER,
// SMALL FULL STOP).
var otherDots = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".", "\u2024", ".", "\ufe52", ".")

func foldForReaders(s string) string {
	return otherDots.Replace(strings.ToLower(s))
}

// showsForge reports whether the name of a known forge, or of a host below it,
// stands in text. In a longer word and in the tag of a mail address
// (jane+github.com@host.xz) it does not count.
func showsForge(text string) bool {
	shows := func(name string) bool {
		for from := 0; ; {
			i := strings.Index(text[from:], name)
			if i < 0 {
				return false
			}
			start, end := from+i, from+i+len(name)
			before, _ := utf8.DecodeLastRuneInString(text[:start])
			after, _ := utf8.DecodeRuneInString(text[end:])
			if !isWordRune(before) && !strings.ContainsRune("+-_~=", before) && !isWordRune(after) {
				return true
			}
			from = end
		}
	}
	for name := range forges {
		if shows(name) {
			return true
		}
	}
	return shows(azureOldSuffix[1:])
}

func isWordRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// startsLikeURL reports whether text begins with what a URL may begin with: a
// scheme or not, a host, a port or not, and then nothing or a path. A host with
// another password than a port's number is let through: Google's servers give
// out users such as git-jane.gmail.com, with passwords that begin with "1//".
func startsLikeURL(text string) bool {
	if _, after, ok := strings.Cut(text, "://"); ok {
		text = after
	}
	text = strings.TrimLeft(text, "/ ")
	end := strings.IndexFunc(text, func(r rune) bool { return !isWordRune(r) && !strings.ContainsRune(".-_", r) })
	if end < 0 {
		end = len(text)
	}
	host, rest := strings.TrimRight(text[:end], "."), text[end:]
	if isAddress(text) || endsHost(rest) && isHostLike(host, false) {
		return true
	}
	port, ok := cutPort(text)
	return ok && (isServicePort(port) || rest[0] == ':' && isHostLike(host, true))
}

// cutPort returns the number that follows the first ':' of text, if it may be
// read as a port there. One of a single digit is none that a git server has.
func cutPort(text string) (port string, ok bool) {
	before, after, _ := strings.Cut(text, ":")
	rest := strings.TrimLeft(after, "0123456789")
	port = after[:len(after)-len(rest)]
	return port, before != "" && 2 <= len(port) && len(port) <= 5 && endsHost(rest)
}

// endsHost reports whether a reader would end the host of a URL before rest.
func endsHost(rest string) bool {
	if rest == "" {
		return true
	}
	r, size := utf8.DecodeRuneInString(rest)
	if r == '\\' { // corp.example.com\jane is how Windows writes a user
		next, _ := utf8.DecodeRuneInString(rest[size:])
		return !isWordRune(next)
	}
	return strings.ContainsRune("/?#@% ", r) || r > unicode.MaxASCII
}

package naming

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// posesAsHost reports whether decoded userinfo seems made to be read as the host, as in
// https://github.com:443@evil.example/o/r. It looks for known forges everywhere a reader would see one. Other hosts can
// be distinguished from users and passwords only by their form.
func posesAsHost(user, password string) bool {
	if user == "" && password == "" {
		return false
	}
	user, password = foldForReaders(user), foldForReaders(password)
	if strings.ContainsAny(user, "[]") || showsForge(user) {
		return true
	}
	// The text after "user:" is read as a password, up to a character that ends
	// one in a URL.
	if i := strings.IndexAny(password, "@/"); user == "" && showsForge(password) || i >= 0 && showsForge(password[i:]) {
		return true
	}
	text := user
	if password != "" {
		text += ":" + password
	}
	return startsLikeURL(text)
}

// otherDots has the characters that browsers take for '.' in a host (IDEOGRAPHIC, FULLWIDTH and HALFWIDTH FULL STOP),
// and those that look like it (ONE DOT LEADER, SMALL FULL STOP).
var otherDots = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".", "\u2024", ".", "\ufe52", ".")

func foldForReaders(s string) string {
	return otherDots.Replace(strings.ToLower(s))
}

// showsForge reports whether text contains the name of a known forge, or of a host below it. A name within a longer
// word, or in the tag of a mail address (jane+github.com@host.xz), does not count.
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

// startsLikeURL reports whether text begins like a URL: an optional scheme, a host, an optional port, and then the end
// or a path. A host with a password that is no port number is accepted: Google's servers give out users such as
// git-jane.gmail.com, with passwords that begin with "1//".
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

// cutPort returns the number after the first ':' of text, if it may be read as a port. A single digit is not, because
// no git server has such a port.
func cutPort(text string) (port string, ok bool) {
	before, after, _ := strings.Cut(text, ":")
	rest := strings.TrimLeft(after, "0123456789")
	port = after[:len(after)-len(rest)]
	return port, before != "" && 2 <= len(port) && len(port) <= 5 && endsHost(rest)
}

// endsHost reports whether a reader would take rest for what follows the host of a URL.
func endsHost(rest string) bool {
	if rest == "" {
		return true
	}
	r, size := utf8.DecodeRuneInString(rest)
	if r == '\\' { // Windows writes a user as corp.example.com\jane
		next, _ := utf8.DecodeRuneInString(rest[size:])
		return !isWordRune(next)
	}
	return strings.ContainsRune("/?#@% ", r) || r > unicode.MaxASCII
}

package naming

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const blanks = " \t\r\n"

// tidy checks the rules for remotes of every form, and returns the remote without the blanks around it.
func tidy(remote string) (string, error) {
	if len(remote) > MaxRemoteLen {
		return "", badRemote("it is longer than 2048 bytes")
	}
	if !utf8.ValidString(remote) {
		return "", badRemote("it is not UTF-8")
	}
	text := strings.TrimRight(remote, blanks)
	padded := len(text) < len(remote)
	inner := strings.TrimLeft(text, blanks)

	// A pasted line has a blank after the remote, and a pasted table cell has blanks around it. A blank only in front
	// has no such cause, and could hide an option from a check for a leading '-', in this program or the next.
	if len(inner) < len(text) && !padded {
		return "", badRemote("it starts with a blank; leave that out")
	}
	switch {
	case inner == "":
		return "", badRemote("it is empty; a URL or user@host:path is needed")
	case inner[0] == '-':
		return "", badRemote("it starts with '-', which git would take for an option")
	case strings.ContainsFunc(inner, unicode.IsControl):
		return "", badRemote("it holds a control character")
	case strings.Contains(inner, `\`):
		// Parsers disagree whether it ends the host.
		return "", badRemote("it holds a backslash; use '/', or https or ssh instead of a local path")
	}
	return inner, nil
}

// cutQuery returns the remote without query and fragment, and the part that it has cut off. Query and fragment are for
// programs that put a branch or a directory there. Git would send them to the server as part of the path.
func cutQuery(whole string) (text, tail string, err error) {
	text, _, _ = strings.Cut(whole, "#")
	text, query, _ := strings.Cut(text, "?")
	tail = whole[len(text):]
	for query != "" {
		var param string
		param, query, _ = strings.Cut(query, "&")
		key, _, _ := strings.Cut(param, "=")
		if isCredentialParam(lowerASCII(decodeLoosely(key))) {
			// Without it, the fetch would fail.
			return "", "", badRemote("its query holds a credential; put it into the userinfo (https://TOKEN@host/path)")
		}
	}
	if text == "" {
		return "", "", badRemote("nothing stands before the query; a URL or user@host:path is needed")
	}
	return text, tail, nil
}

// isCredentialParam reports whether the name of a query parameter means a credential. A bare "token" does not, because
// servers also use it for page and signing tokens, which fetching does not need.
func isCredentialParam(key string) bool {
	key = strings.ReplaceAll(key, "-", "_")
	switch key {
	case "password", "passwd", "secret", "api_key", "apikey", "authorization":
		return true
	}
	return strings.HasSuffix(key, "_token") || strings.HasSuffix(key, "_secret") || strings.HasSuffix(key, "_password")
}

// lowerASCII folds A to Z only. Full folding would make names equal that differ for every forge: it turns the Kelvin
// sign into a k.
func lowerASCII(s string) string {
	if strings.IndexFunc(s, isUpperASCII) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if isUpperASCII(r) {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func isUpperASCII(r rune) bool { return 'A' <= r && r <= 'Z' }
func isLowerASCII(r rune) bool { return 'a' <= r && r <= 'z' }
func isDigit(r rune) bool      { return '0' <= r && r <= '9' }

// isAlnum reports whether r is an ASCII letter or digit.
func isAlnum(r rune) bool { return isLowerASCII(r) || isUpperASCII(r) || isDigit(r) }

func isDigits(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !isDigit(r) }) < 0
}

package naming

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a label, in bytes.
const (
	MaxLabelKeyLen   = 63
	MaxLabelValueLen = 256
)

// reservedPrefixes belong to EC2, to Docker and to this library, in this order.
var reservedPrefixes = []string{"aws:", "com.docker.", "io.docker.", "org.dockerproject.", "berth."}

// ValidateLabel returns an error that wraps [ErrInvalid] unless key and value
// can be the label of a session.
//
// A key is 1 to 63 letters, digits and . _ : / - of ASCII, begins and ends with a letter or a digit, and has none of
// the prefixes aws:, com.docker., io.docker., org.dockerproject. and berth. in upper or lower case. A value is up to
// 256 bytes of printable UTF-8, and may be empty. So each is legal as a Docker label and as an EC2 tag, and can be
// shown on a terminal.
func ValidateLabel(key, value string) error {
	const what = "label"
	switch {
	case key == "":
		return invalid(what, "its key is empty")
	case len(key) > MaxLabelKeyLen:
		return invalid(what, "its key is longer than 63 bytes")
	case strings.ContainsFunc(key, isBadInLabelKey):
		return invalid(what, "its key may hold ASCII letters, digits and . _ : / - only")
	case !isAlnum(rune(key[0])) || !isAlnum(rune(key[len(key)-1])):
		return invalid(what, "its key must begin and end with a letter or a digit")
	case len(value) > MaxLabelValueLen:
		return invalid(what, "its value is longer than 256 bytes")
	case !utf8.ValidString(value) || strings.ContainsFunc(value, isUnprintable):
		return invalid(what, "its value must be printable UTF-8 text")
	}
	for _, prefix := range reservedPrefixes {
		if strings.HasPrefix(lowerASCII(key), prefix) {
			return invalid(what, "its key has a reserved prefix (aws:, com.docker., io.docker., org.dockerproject., berth.)")
		}
	}
	return nil
}

func isBadInLabelKey(r rune) bool {
	return !isAlnum(r) && !strings.ContainsRune("._:/-", r)
}

func isUnprintable(r rune) bool {
	return !unicode.IsPrint(r)
}

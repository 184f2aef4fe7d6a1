package naming

import (
	"net/url"
	"strings"
	"unicode"
)

// elements returns the decoded elements of the path.
func (s *spelling) elements() ([]string, error) {
	path := s.path
	if s.scp {
		path = strings.TrimPrefix(path, "/")
	}
	// A program that decodes an encoded slash would see two elements in place of one.
	if strings.Contains(lowerASCII(path), "%2f") {
		return nil, badRemote("its path holds an encoded slash (%2F)")
	}
	// Ssh gets the path unchanged, so a '%' is a '%' there.
	if !s.scp || isAzureSSH(s.host) {
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return nil, badRemote("its path holds an incomplete percent-encoding")
		}
		path = decoded
	}
	return strings.Split(path, "/"), nil
}

// checkElements refuses paths that two programs could understand differently. also has characters that are allowed in
// addition.
func checkElements(elems []string, also string) error {
	for _, elem := range elems {
		if err := checkElement(elem, also); err != nil {
			return err
		}
		// A server may decode once more. The element must be harmless then, too.
		if again := decodeLoosely(elem); again != elem {
			for part := range strings.SplitSeq(again, "/") {
				if err := checkElement(part, also); err != nil || part != again {
					return badRemote("its path is percent-encoded twice")
				}
			}
		}
	}
	return nil
}

func checkElement(elem, also string) error {
	switch {
	case elem == "":
		return badRemote("its path holds an empty element (//)")
	case elem == "." || elem == "..":
		return badRemote("its path holds '.' or '..' as an element")
	case elem[0] == '-':
		return badRemote("an element of its path begins with '-', which git would take for an option")
	case lowerASCII(elem) == ".git":
		return badRemote("its path names a .git directory; name the repository")
	case len(elem) > 255:
		return badRemote("an element of its path is longer than 255 bytes")
	case strings.TrimSpace(elem) != elem:
		return badRemote("an element of its path begins or ends with a blank")
	case strings.Contains(elem, "@"):
		// This is either a revision, as pip writes it, or the end of a password with a slash or a colon that should
		// have been encoded.
		return badRemote("its path holds an '@'; give a revision as the branch, and encode a password")
	case strings.ContainsFunc(elem, func(r rune) bool { return isBadInPath(r) && !strings.ContainsRune(also, r) }):
		return badRemote("its path may hold letters, digits, blanks and . _ - ~ + , = : % only")
	}
	return nil
}

// isBadInPath reports whether a path may not contain r: a character that has a meaning in a shell, or that is
// invisible. Combining characters are bad because most have a precomposed twin that looks the same, and git would see
// two repositories.
func isBadInPath(r rune) bool {
	if r < unicode.MaxASCII {
		return !isAlnum(r) && !strings.ContainsRune("._-~+,=:% ", r)
	}
	return r == unicode.ReplacementChar || isInvisible(r) || unicode.In(r, unicode.M) // decoding errors become a REPLACEMENT CHARACTER
}

func isInvisible(r rune) bool {
	return r == '\u2800' || !unicode.IsPrint(r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) // BRAILLE PATTERN BLANK
}

// encodeNonASCII encodes the characters that a URL may not contain, and leaves the rest unchanged.
func encodeNonASCII(path string) string {
	var b strings.Builder
	const hex = "0123456789ABCDEF"
	for i := range len(path) {
		if c := path[i]; c <= unicode.MaxASCII {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

package naming

import "strings"

// MaxTaskIDLen is the largest length of a task ID in bytes.
const MaxTaskIDLen = 128

// ValidateTaskID returns an error that wraps [ErrInvalid] unless id is 1 to 128
// letters, digits and . _ : @ + = - of ASCII, and begins with a letter or a
// digit.
//
// These are the characters of an EC2 tag value without blank and slash. This library never uses an ID as a path, in a
// shell or as a Docker name, but programs around it may. So IDs that would be harmful there are refused: those with a
// slash (absolute, nested, "." and ".." as elements), with a leading "-", "." (".git") or "~", with control characters,
// and the names that Windows reserves for devices (CON, NUL, COM1), with or without an extension.
//
// IDs are compared byte by byte: "task" and "Task" are two tasks. A program that makes file names of IDs must know
// whether its file system distinguishes them.
func ValidateTaskID(id string) error {
	const what = "task ID"
	switch {
	case id == "":
		return invalid(what, "it is empty")
	case len(id) > MaxTaskIDLen:
		return invalid(what, "it is longer than 128 bytes")
	case strings.ContainsFunc(id, isBadInTaskID):
		return invalid(what, "it may hold ASCII letters, digits and . _ : @ + = - only")
	case !isAlnum(rune(id[0])):
		return invalid(what, "it must begin with a letter or a digit")
	case isDevice(id):
		return invalid(what, "it is the name of a device on Windows")
	}
	return nil
}

func isBadInTaskID(r rune) bool {
	return !isAlnum(r) && !strings.ContainsRune("._:@+=-", r)
}

// isDevice reports whether Windows would open a device instead of a file.
func isDevice(name string) bool {
	name, _, _ = strings.Cut(lowerASCII(name), ".")
	switch name {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(name) == 4 && isDigit(rune(name[3])) && (name[:3] == "com" || name[:3] == "lpt")
}

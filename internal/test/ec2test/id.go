package ec2test

import (
	"fmt"
	"regexp"
	"strings"
)

// id returns the next ID of a kind, such as "i-00000000000000001". It is the same in every run of a test.
func (s *Server) id(kind string) string {
	s.ids[kind]++
	if kind == "sir" {
		return fmt.Sprintf("sir-%08x", s.ids[kind])
	}
	return fmt.Sprintf("%s-%017x", kind, s.ids[kind])
}

var hex = regexp.MustCompile(`^([0-9a-f]{8}|[0-9a-f]{17})$`)

// checkIDs refuses malformed IDs. EC2 has another error for a well-formed ID of nothing.
func checkIDs(code, kind string, ids []string) error {
	for _, id := range ids {
		rest, ok := strings.CutPrefix(id, kind+"-")
		switch {
		case !ok:
			return fail(code+".Malformed", "Invalid id: \"%s\" (expecting \"%s-...\")", id, kind)
		case !hex.MatchString(rest):
			return fail(code+".Malformed", "Invalid id: \"%s\"", id)
		}
	}
	return nil
}

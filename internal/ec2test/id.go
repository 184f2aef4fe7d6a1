package ec2test

import (
	"fmt"
	"regexp"
	"strings"
)

// id makes the next ID of a kind, e.g. "i-00000000000000001": the same in every run of a test.
func (s *Server) id(kind string) string {
	s.ids[kind]++
	if kind == "sir" {
		return fmt.Sprintf("sir-%08x", s.ids[kind])
	}
	return fmt.Sprintf("%s-%017x", kind, s.ids[kind])
}

var hex = regexp.MustCompile(`^([0-9a-f]{8}|[0-9a-f]{17})$`)

// checkIDs refuses what does not look like an ID: that is another error than one that names nothing.
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

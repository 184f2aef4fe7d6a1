package git

import (
	"os"
	"strconv"
	"strings"
)

// unanswered reports whether a uid has connections that wait for the other side's first answer, and none that is
// established: of several addresses of a host, one that answers is enough.
func unanswered(uid int) bool {
	waiting, up := false, false
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		if table, err := os.ReadFile(file); err == nil { // else there is no IPv6, or no way to see
			w, u := connections(string(table), uid)
			waiting, up = waiting || w, up || u
		}
	}
	return waiting && !up
}

// connections looks for a uid's in a table as proc(5) describes it: the fourth column is the state, 01 for established
// and 02 for SYN sent, the eighth the uid.
func connections(table string, uid int) (waiting, up bool) {
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 7 && fields[7] == strconv.Itoa(uid) {
			waiting = waiting || fields[3] == "02"
			up = up || fields[3] == "01"
		}
	}
	return waiting, up
}

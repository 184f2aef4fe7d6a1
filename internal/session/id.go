package session

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
)

var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding) // sorts as its bytes do

// newID returns an ID that no other session has. IDs sort by the time at which they were made, to the millisecond. So a
// database adds new sessions at one end of its indexes, and writes fewer pages for them.
func newID(now time.Time) string {
	var b [6 + 7]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	rand.Read(b[6:])
	return "s-" + idEncoding.EncodeToString(b[:])
}

// IsID reports whether a text may be the ID of a session. IDs come from outside: the store is not asked for others.
func IsID(id string) bool {
	return id != "" && len(id) <= 128 &&
		strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}

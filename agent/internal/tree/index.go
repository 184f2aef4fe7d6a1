package tree

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// An index of git has, after a header, an entry for each file: what the kernel said of it (times, device, inode, mode, owner, size), the
// ID of its content, flags and its path. At its end is a checksum. See gitformat-index(5).
const (
	indexHeader = 12 // "DIRC", the version, the number of entries
	entryUID    = 28 // where the owner is in an entry
	entryGID    = 32
	entryID     = 40
	extended    = 0x4000 // in an entry's flags: two more bytes of them follow
)

// ErrIndex says that a file is no index of git that Own understands.
var ErrIndex = errors.New("tree: no index of git of version 2 or 3")

// Own changes an index in place: all files are those of a uid and its group. format is that of the repository's object names, "sha1" or
// "sha256". So git, which finds the files with that owner in the session, takes none of them for changed.
func Own(index []byte, format string, uid int) error {
	sum := hash.Hash(sha1.New())
	if format == "sha256" {
		sum = sha256.New()
	}
	end := len(index) - sum.Size()
	if end < indexHeader || string(index[:4]) != "DIRC" {
		return ErrIndex
	}
	if v := binary.BigEndian.Uint32(index[4:]); v != 2 && v != 3 {
		return fmt.Errorf("%w: its version is %d", ErrIndex, v)
	}
	at := indexHeader
	for range binary.BigEndian.Uint32(index[8:]) {
		flags := at + entryID + sum.Size()
		if flags+2 > end {
			return ErrIndex
		}
		binary.BigEndian.PutUint32(index[at+entryUID:], uint32(uid))
		binary.BigEndian.PutUint32(index[at+entryGID:], uint32(uid))
		path := flags + 2
		if binary.BigEndian.Uint16(index[flags:])&extended != 0 {
			path += 2
		}
		if path >= end {
			return ErrIndex
		}
		length := bytes.IndexByte(index[path:end], 0)
		if length < 0 {
			return ErrIndex
		}
		at += (path + length - at + 8) &^ 7 // 1 to 8 zeros follow the path
	}
	if at > end {
		return ErrIndex
	}
	if bytes.Count(index[end:], []byte{0}) == sum.Size() {
		return nil // git was told to write none, and checks none
	}
	sum.Write(index[:end])
	copy(index[end:], sum.Sum(nil))
	return nil
}

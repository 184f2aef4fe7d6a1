// Package work packs the work of a session, and unpacks it in another session: what the files of its checkout and its repository have
// become since the session began.
//
// Both programs run in a session's room and under its uid. So what a stream says can do nothing that a command of the session could not do,
// and the files of a new session are its own. The unpacking stays in the checkout besides, whatever symbolic links lead out of it.
//
// # What is packed
//
// A checkout begins with the files of a commit, its base, and with an index of git that has what the kernel says of each of them. A link to
// that index stays beside the checkout. A file is left out if the kernel still says the same of it: a session can set all but the
// time of the last change of status (ctime), which each change sets. So it does not matter whether the checkout is a mount over the files
// of the commit, whose upper layer is then what is packed, or has files of its own. The repository (.git) is packed as a whole. It
// borrows the objects of the mirror, which are not packed.
//
// # The stream
//
// A line of JSON, Head, comes first. A tar follows, compressed by zstd. Its first entry has the names that are gone, and the others
// are files.
package work

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Head describes a stream. It is its first line.
type Head struct {
	Version int    `json:"version"`
	Commit  string `json:"commit,omitempty"` // the base; "" = the remote had no commit
	Files   int    `json:"files"`            // files, directories and links
	Bytes   int64  `json:"bytes"`            // of their contents
}

const version = 1

// maxHead bounds a head in bytes.
const maxHead = 4096

// maxPack bounds the contents of a stream, as that of package layer.
const maxPack = 64 << 30

// ErrHead says that a stream is not one of Pack.
var ErrHead = errors.New("it is no packed work of a session")

// ReadHead reads the head of a stream.
func ReadHead(r *bufio.Reader) (h Head, err error) {
	var line strings.Builder
	for line.Len() < maxHead {
		c, err := r.ReadByte()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return h, err
		}
		if line.WriteByte(c); c == '\n' {
			break
		}
	}
	if json.Unmarshal([]byte(line.String()), &h) != nil || h.Version == 0 {
		return h, ErrHead
	}
	if h.Version != version {
		return h, fmt.Errorf("%w: its version is %d", ErrHead, h.Version)
	}
	return h, nil
}

// list is the first entry of the tar.
type list struct {
	Whole   bool     `json:"whole,omitempty"`   // all files follow, and no other stays
	Removed [][]byte `json:"removed,omitempty"` // files and directories of the base that are gone
}

const (
	listName = "list"  // of the first entry
	treeName = "tree/" // begins the names of all others
)

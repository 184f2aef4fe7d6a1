// Package filewire is the protocol by which a process of a host application uses the files of a session. The other side is a program of
// the agent's that runs in the session's room and under its uid, so that the kernel decides what it may do. [Serve] is that program
// over any [Tree]; [Conn] is the client.
//
// Each message is a frame: four bytes with its length, then the message. Requests carry a number, and their answers carry it back, in
// any order. The client does not trust the answers: a session can kill its own processes, and put others in their place. It bounds
// what it reads of them, and a message that it does not understand ends the connection.
package filewire

import (
	"io/fs"
	"time"
)

// Limits of a message.
const (
	// MaxData bounds the bytes of a file in one message. A frame with so many fits into one message of the agent's protocol.
	MaxData  = 248 << 10
	maxFrame = MaxData + 512<<10
	maxPath  = 16 << 10
	maxPaths = 4096 // in one request
	listSize = 64 << 10
)

// Op is what a request asks for.
type Op byte

// The operations, with the fields of the Request that they use and those of the Answer that they fill. Path is Paths[0].
const (
	OpPing      Op = iota + 1
	OpStat         // Path -> Infos
	OpLstat        // Path -> Infos
	OpReadLink     // Path -> Data
	OpOpen         // Path, Flag, Mode -> Handle, Infos
	OpReadFile     // Path -> Data; also Handle, if there may be more
	OpWriteFile    // Path, Mode, Data
	OpMkdir        // Path, Mode
	OpMkdirAll     // Path, Mode
	OpRemove       // Path
	OpRemoveAll    // Path
	OpRename       // Paths: from, to
	OpChmod        // Path, Mode
	OpChtimes      // Path, Times: of access and modification; nil = unchanged
	OpFstat        // Handle -> Infos
	OpRead         // Handle, Offset, Size; of a watch, Size is 0 -> Data, End
	OpWrite        // Handle, Offset, Data
	OpReadDir      // Handle, Size: how many at most, 0 = any number -> Infos, End
	OpClose        // Handle, Abort
	OpCopyIn       // Path -> Handle, to which a tar archive is written
	OpCopyOut      // Paths: where, then what -> Handle, from which a tar archive is read
	OpWatch        // Path -> Handle, from which Events are read
	lastOp
)

// Flag says how a file is opened.
type Flag uint16

// The flags of OpOpen, which do not depend on the operating system.
const (
	Read Flag = 1 << iota
	Write
	Append
	Create
	Exclusive
	Truncate
)

// A Request is a message to the program.
type Request struct {
	Op     Op
	Handle uint32
	Offset int64
	Size   int
	Flag   Flag
	Mode   fs.FileMode
	Times  [2]time.Time // zero = unchanged
	Abort  bool         // of OpClose: what was written is not whole
	Paths  []string
	Data   []byte
}

// Info describes a file.
type Info struct {
	Name  string // the last element of its path
	Size  int64
	Mode  fs.FileMode
	Mtime time.Time
}

// An Answer is the program's answer to a Request.
type Answer struct {
	Err    error // nil = done
	Handle uint32
	End    bool // nothing follows
	Infos  []Info
	Data   []byte
}

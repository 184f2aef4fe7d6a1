// Package filewire is the protocol by which a process of a host application uses the files of a session. The other side is a program of
// the agent's that runs in the session's room and under its uid, so that the kernel decides what it may do. [Serve] is that program
// over any [Tree]; [Conn] is the client.
//
// Each message is a frame: four bytes with its length, then the message. Requests carry a number, and their answers carry it back, in
// any order. The client does not trust the answers: a session can kill its own processes, and put others in their place. It bounds
// what it reads of them, and a message that it does not understand ends the connection.
package filewire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

var errMessage = errors.New("filewire: a message cannot be read")

// readFrame reads a frame into buf, which it may replace.
func readFrame(r io.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n > maxFrame {
		return nil, fmt.Errorf("%w: it has %d bytes", errMessage, n)
	}
	if n > cap(buf) {
		buf = make([]byte, n)
	}
	_, err := io.ReadFull(r, buf[:n])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return buf[:n], err
}

// begin returns the beginning of a frame; seal sets its length.
func begin(size int) []byte { return make([]byte, 4, 4+64+size) }

func seal(frame []byte) []byte {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendTime adds a time. The zero time is kept.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return binary.AppendUvarint(binary.AppendVarint(append(b, 1), t.Unix()), uint64(t.Nanosecond()))
}

// frame returns a request as a frame.
func (r *Request) frame(id uint32) []byte {
	size := len(r.Data)
	for _, p := range r.Paths {
		size += 4 + len(p)
	}
	b := binary.AppendUvarint(begin(size), uint64(id))
	b = append(b, byte(r.Op))
	b = binary.AppendUvarint(b, uint64(r.Handle))
	b = binary.AppendVarint(b, r.Offset)
	b = binary.AppendUvarint(b, uint64(r.Size))
	b = binary.AppendUvarint(b, uint64(r.Flag))
	b = binary.AppendUvarint(b, uint64(r.Mode))
	b = appendTime(appendTime(b, r.Times[0]), r.Times[1])
	b = append(b, flag(r.Abort))
	b = binary.AppendUvarint(b, uint64(len(r.Paths)))
	for _, p := range r.Paths {
		b = appendString(b, p)
	}
	return seal(append(b, r.Data...))
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// parseRequest reads a request. Its Data are a part of b.
func parseRequest(b []byte) (id uint32, r Request, err error) {
	p := parser{b: b}
	id = uint32(p.number(1<<32 - 1))
	r.Op = Op(p.byte())
	r.Handle = uint32(p.number(1<<32 - 1))
	r.Offset = p.signed()
	r.Size = int(p.number(1 << 30))
	r.Flag = Flag(p.number(1<<16 - 1))
	r.Mode = fs.FileMode(p.number(1<<32 - 1))
	r.Times[0], r.Times[1] = p.time(), p.time()
	r.Abort = p.byte() != 0
	for range p.number(maxPaths) {
		r.Paths = append(r.Paths, p.string(maxPath))
	}
	r.Data = p.b
	return id, r, p.err
}

// frame returns an answer as a frame.
func (a *Answer) frame(id uint32) []byte {
	size := len(a.Data)
	for _, i := range a.Infos {
		size += 32 + len(i.Name)
	}
	b := binary.AppendUvarint(begin(size), uint64(id))
	b = appendError(b, a.Err)
	b = binary.AppendUvarint(b, uint64(a.Handle))
	b = append(b, flag(a.End))
	b = binary.AppendUvarint(b, uint64(len(a.Infos)))
	for _, i := range a.Infos {
		b = appendString(b, i.Name)
		b = binary.AppendVarint(b, i.Size)
		b = binary.AppendUvarint(b, uint64(i.Mode))
		b = appendTime(b, i.Mtime)
	}
	return seal(append(b, a.Data...))
}

// parseAnswer reads an answer. Its Data are a part of b.
func parseAnswer(b []byte) (id uint32, a Answer, err error) {
	p := parser{b: b}
	id = uint32(p.number(1<<32 - 1))
	a.Err = p.error()
	a.Handle = uint32(p.number(1<<32 - 1))
	a.End = p.byte() != 0
	for range p.number(uint64(len(p.b))) { // an Info has more bytes than one
		if p.err != nil {
			break
		}
		a.Infos = append(a.Infos, Info{Name: p.string(maxPath), Size: p.signed(), Mode: fs.FileMode(p.number(1<<32 - 1)), Mtime: p.time()})
	}
	a.Data = p.b
	return id, a, p.err
}

// A parser takes values from the beginning of b, until the first error.
type parser struct {
	b   []byte
	err error
}

func (p *parser) fail() { p.b, p.err = nil, errMessage }

func (p *parser) number(most uint64) uint64 {
	n, size := binary.Uvarint(p.b)
	if size <= 0 || n > most {
		p.fail()
		return 0
	}
	p.b = p.b[size:]
	return n
}

func (p *parser) signed() int64 {
	n, size := binary.Varint(p.b)
	if size <= 0 {
		p.fail()
		return 0
	}
	p.b = p.b[size:]
	return n
}

func (p *parser) byte() byte {
	if len(p.b) == 0 {
		p.fail()
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

func (p *parser) string(most uint64) string {
	n := p.number(most)
	if n > uint64(len(p.b)) {
		p.fail()
		return ""
	}
	s := string(p.b[:n])
	p.b = p.b[n:]
	return s
}

func (p *parser) time() time.Time {
	if p.byte() == 0 {
		return time.Time{}
	}
	sec := p.signed()
	return time.Unix(sec, int64(p.number(1e9-1)))
}

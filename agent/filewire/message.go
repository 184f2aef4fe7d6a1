package filewire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"
)

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

// check returns an error for a request that the program would not understand.
func (r *Request) check() error {
	size := len(r.Data)
	for _, p := range r.Paths {
		if size += 4 + len(p); len(p) > maxPath {
			return syscall.ENAMETOOLONG
		}
	}
	if len(r.Paths) > maxPaths || size > maxFrame-64 {
		return fmt.Errorf("too many names, or too much data: %w", fs.ErrInvalid)
	}
	return nil
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

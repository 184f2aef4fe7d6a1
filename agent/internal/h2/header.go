package h2

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// tableSize is the size in bytes of the table of fields that a client keeps here. It holds as no setting changes it.
const tableSize = 4096

func newDecoder() *hpack.Decoder {
	d := hpack.NewDecoder(tableSize, nil)
	d.SetMaxStringLength(maxHeaders)
	return d
}

// A header has the fields of a request that the server reads. The decoder drops the others.
type header struct {
	method, path, length string
}

// decode reads a whole header block. It must be given all blocks of a connection in order, since one may refer to another.
func (c *conn) decode(block []byte) (h header, err error) {
	c.headers.SetEmitFunc(func(f hpack.HeaderField) {
		if f.Name != strings.ToLower(f.Name) {
			err = protocolError("the header field %q", f.Name)
		}
		switch f.Name {
		case ":method":
			h.method = f.Value
		case ":path":
			h.path = f.Value
		case "content-length":
			h.length = f.Value
		}
	})
	_, failed := c.headers.Write(block)
	if failed == nil {
		failed = c.headers.Close()
	}
	if failed != nil {
		return h, protocolError("a header block: %v", failed)
	}
	return h, err
}

// request sets the fields of a request from its header.
func (s *Stream) request(h header, ends bool) error {
	s.Method, s.Length = h.method, -1
	s.Path, s.Query, _ = strings.Cut(h.path, "?")
	if s.Method == "" || s.Path == "" {
		return protocolError("a request without a method or a path")
	}
	if h.length != "" {
		n, err := strconv.ParseUint(h.length, 10, 63)
		if err != nil {
			return protocolError("the content-length %q", h.length)
		}
		s.Length = int64(n)
	}
	if !ends {
		return nil
	}
	s.Length = max(s.Length, 0)
	return s.receive(nil, true)
}

// encode returns the header block of an answer. The client's table stays empty: concurrent answers cannot agree on its content.
func encode(status int, fields []hpack.HeaderField) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSizeLimit(0)
	e.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)}) // a Buffer does not fail
	for _, f := range fields {
		e.WriteField(f)
	}
	return block.Bytes()
}

package room

import (
	"encoding"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A message is sent in packets. The first byte of each says whether another one follows. Files come with the last one.
const (
	packetSize = 16 << 10
	maxMessage = 64 << 20 // more than the arguments of a command may be
	more, last = 0, 1
)

// conn is one end of a control socket. One goroutine reads; any may write.
type conn struct {
	*net.UnixConn
	in  []byte // the packet being read
	oob []byte

	mu       sync.Mutex // held while a message is written, which patience bounds; protects what follows
	out      []byte
	patience time.Duration // 0 = without bound
}

// newConn takes over a SOCK_SEQPACKET socket.
func newConn(control *os.File) (*conn, error) {
	defer control.Close()
	c, err := net.FileConn(control)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	unix, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("control socket: it is no unix socket")
	}
	return &conn{UnixConn: unix, in: make([]byte, packetSize), oob: make([]byte, syscall.CmsgSpace(4*streams)), out: make([]byte, packetSize)}, nil
}

// write sends a message. The files stay open. After an error the connection is of no more use.
func (c *conn) write(message encoding.BinaryMarshaler, files ...int) error {
	text, err := message.MarshalBinary()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.patience > 0 {
		c.SetWriteDeadline(time.Now().Add(c.patience))
	}
	for {
		n := copy(c.out[1:], text)
		text = text[n:]
		c.out[0] = more
		var rights []byte
		if len(text) == 0 {
			c.out[0] = last
			if len(files) > 0 {
				rights = syscall.UnixRights(files...)
			}
		}
		if _, _, err := c.WriteMsgUnix(c.out[:1+n], rights, nil); err != nil || len(text) == 0 {
			return err
		}
	}
}

// read receives a message and the files that came with it, which the caller closes.
func (c *conn) read(message encoding.BinaryUnmarshaler) (files []int, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
		}
	}()
	var text []byte
	for {
		n, nOOB, flags, _, err := c.ReadMsgUnix(c.in, c.oob)
		if err != nil {
			return files, err
		}
		received, err := filesOf(c.oob[:nOOB])
		files = append(files, received...)
		if err != nil {
			return files, err
		}
		if n == 0 || flags&syscall.MSG_TRUNC != 0 || len(text)+n > maxMessage {
			return files, errors.New("control socket: a message is empty or too long")
		}
		if c.in[0] == last && text == nil {
			return files, message.UnmarshalBinary(c.in[1:n])
		}
		text = append(text, c.in[1:n]...)
		if c.in[0] == last {
			return files, message.UnmarshalBinary(text)
		}
	}
}

// filesOf returns the descriptors in a control message. There are fewer than were sent if the table of files is full.
func filesOf(oob []byte) (files []int, err error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	for _, m := range messages {
		rights, err := syscall.ParseUnixRights(&m)
		if err == nil {
			files = append(files, rights...)
		}
	}
	return files, err
}

func closeAll(files []int) {
	for _, fd := range files {
		syscall.Close(fd)
	}
}

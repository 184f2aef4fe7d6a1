package daemon

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Greeting is what join sends first, with its stdin and its stdout, if these are pipes. The agent answers with one byte: handoverTaken if
// it reads and writes these pipes from then on, or handoverRefused if join has to copy. A client without join begins with HTTP/2's
// preface, which is as long as Greeting or longer, and differs in its first byte.
const Greeting = "join"

const (
	handoverTaken   = 'y'
	handoverRefused = 'n'
)

// HandOver asks the agent to use two pipes in place of the connection. It returns false if the agent does not, or if it cannot be
// asked. The connection must be new. If the agent took the pipes, it closes the connection when it has closed them, and takes the
// connection's end for their end.
func HandOver(conn *net.UnixConn, in, out *os.File) (bool, error) {
	if !isPipe(in) || !isPipe(out) {
		return false, nil
	}
	rights := syscall.UnixRights(int(in.Fd()), int(out.Fd()))
	if _, _, err := conn.WriteMsgUnix([]byte(Greeting), rights, nil); err != nil {
		return false, nil // nothing was sent: the kernel may refuse descriptors alone
	}
	var answer [1]byte
	_, err := io.ReadFull(conn, answer[:])
	return answer[0] == handoverTaken, err
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// muchData is the size of a buffer for much that comes from a client, or goes to it.
const muchData = 32 << 10

// greetTime is how long a peer may take to say something. Join says it at once.
const greetTime = 30 * time.Second

// handovers accepts connections, and puts the pipes that a join hands over in place of its connection.
type handovers struct{ net.Listener }

func (l handovers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return conn, nil
	}
	return &joined{UnixConn: unix, met: make(chan struct{})}, nil
}

// joined is a connection of a client or of its join. Its first Read finds out which.
type joined struct {
	*net.UnixConn

	once sync.Once
	met  chan struct{} // closed when the fields below are set

	first   []byte  // was read from a client
	in, out growing // of a join; nothing if there is none, or if it copies
	err     error
}

// Read implements net.Conn. One goroutine calls it.
func (c *joined) Read(p []byte) (int, error) {
	c.once.Do(func() {
		c.err = c.meet()
		close(c.met)
	})
	switch {
	case c.err != nil:
		return 0, c.err
	case c.in.File != nil && len(p) >= muchData: // the rest of a part of an input
		c.in.grow()
		return readMuch(c.in.File, p)
	case c.in.File != nil:
		return c.in.Read(p)
	case len(c.first) > 0:
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.UnixConn.Read(p)
}

// meet receives the first message.
func (c *joined) meet() error {
	c.SetReadDeadline(time.Now().Add(greetTime))
	defer c.SetReadDeadline(time.Time{})
	b, oob := make([]byte, len(Greeting)), make([]byte, syscall.CmsgSpace(2*4))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	files := received(oob[:oobn])
	if string(b[:n]) != Greeting {
		closeAll(files)
		c.first = b[:n]
		return nil
	}
	if len(files) != 2 || !isPipe(files[0]) || !isPipe(files[1]) {
		closeAll(files)
		_, err = c.UnixConn.Write([]byte{handoverRefused})
		return err
	}
	if _, err := c.UnixConn.Write([]byte{handoverTaken}); err != nil {
		closeAll(files)
		return err
	}
	c.in, c.out = growing{File: files[0]}, growing{File: files[1]}
	go func() { // ends with join, or with Close
		io.Copy(io.Discard, c.UnixConn)
		c.Close()
	}()
	return nil
}

// received returns the descriptors of a message. They do not block, and are closed in children.
func received(oob []byte) (files []*os.File) {
	messages, _ := syscall.ParseSocketControlMessage(oob)
	for _, m := range messages {
		fds, _ := syscall.ParseUnixRights(&m)
		for _, fd := range fds {
			syscall.CloseOnExec(fd) // ReadMsgUnix has asked for it already
			syscall.SetNonblock(fd, true)
			files = append(files, os.NewFile(uintptr(fd), "join"))
		}
	}
	return files
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Write implements net.Conn.
func (c *joined) Write(p []byte) (int, error) {
	if err := c.WriteBuffers(net.Buffers{p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteBuffers implements h2.BuffersWriter. It waits until the peer has said what it is. One goroutine at a time calls it.
func (c *joined) WriteBuffers(buffers net.Buffers) error {
	<-c.met
	switch {
	case c.err != nil:
		return c.err
	case c.out.File == nil:
		_, err := buffers.WriteTo(c.UnixConn)
		return err
	}
	if size(buffers) >= muchData {
		c.out.grow()
	}
	return writev(c.out.File, buffers)
}

// Close implements net.Conn.
func (c *joined) Close() error {
	err := c.UnixConn.Close() // makes meet return, if it waits
	c.once.Do(func() {
		c.err = net.ErrClosed
		close(c.met)
	})
	<-c.met
	if c.in.File != nil {
		c.in.Close()
		c.out.Close()
	}
	return err
}

package daemon

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/berth-go/berth/agent/internal/wire"
)

// A ring keeps the last bytes of an output in a file without a name, on the disk of its session, which cannot open it. output.mu
// protects first and next.
type ring struct {
	file *os.File
	size int64

	first, next int64 // the offsets of the first byte that is kept, and of the next one that comes
}

// newRing makes the file in a directory that is root's.
func newRing(dir string, size int64) (*ring, error) {
	const unnamed = 0x400000 | syscall.O_DIRECTORY // O_TMPFILE
	f, err := os.OpenFile(dir, unnamed|os.O_RDWR, 0o600)
	if err == nil {
		return &ring{file: f, size: size}, nil
	}
	// The file system has no files without a name.
	name := filepath.Join(dir, ".output-"+rand.Text())
	f, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(name); err != nil {
		f.Close()
		return nil, err
	}
	return &ring{file: f, size: size}, nil
}

// write writes bytes behind those before them. Only the goroutine that reads the program's pipe calls it, and changes first and next.
func (r *ring) write(b []byte) error {
	for at := r.next; len(b) > 0; {
		n := min(int64(len(b)), r.size-at%r.size)
		if _, err := r.file.WriteAt(b[:n], at%r.size); err != nil {
			return err
		}
		at, b = at+n, b[n:]
	}
	return nil
}

// read reads bytes from an offset on. They may be overwritten meanwhile: the caller looks.
func (r *ring) read(b []byte, at int64) error {
	for len(b) > 0 {
		n := min(int64(len(b)), r.size-at%r.size)
		if _, err := r.file.ReadAt(b[:n], at%r.size); err != nil {
			return err
		}
		at, b = at+n, b[n:]
	}
	return nil
}

// keep puts bytes into the output's ring. The oldest make room for them. It returns false if the stream was closed. What cannot be
// written, as on a full disk, is lost with all before it.
func (o *output) keep(b []byte) bool {
	r := o.ring
	o.mu.Lock()
	if o.ended {
		o.mu.Unlock()
		return false
	}
	r.first = max(r.first, r.next+int64(len(b))-r.size)
	o.mu.Unlock()
	err := r.write(b)
	o.mu.Lock()
	defer o.mu.Unlock()
	r.next += int64(len(b))
	if err != nil {
		r.first = r.next
	}
	o.signal()
	return !o.ended
}

// recall returns bytes from an offset on, at most as many as fit. more says that others may follow. An error says that they are not
// held any more.
func (o *output) recall(b []byte, at int64) (n int, more bool, changed <-chan struct{}, err error) {
	o.mu.Lock()
	first, next, ended, lost, changed := o.ring.first, o.ring.next, o.ended, o.lost, o.changed
	o.mu.Unlock()
	switch {
	case at < first || lost != nil && at >= next:
		return 0, false, nil, errDropped
	case at > next:
		return 0, false, nil, errors.New("the offset is behind the end")
	}
	n = int(min(int64(len(b)), next-at))
	if err := o.ring.read(b[:n], at); err != nil {
		return 0, false, nil, errDropped
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if at < o.ring.first {
		return 0, false, nil, errDropped
	}
	return n, !ended || at+int64(n) < next, changed, nil
}

// A ringReader is a request that follows an output with a ring.
type ringReader struct {
	*output
	acked int64
}

func (l *ringReader) acknowledge(at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = max(l.acked, at)
	l.signal()
}

func (l *ringReader) ahead(at int64) (bytes [][]byte, _ held, more bool, changed <-chan struct{}) {
	l.mu.Lock()
	room := min(l.acked+wire.Ahead-at, pipeSize)
	changed = l.changed
	l.mu.Unlock()
	if room <= 0 {
		return nil, nil, true, changed
	}
	one := &piece{buf: readBuffers.Get().(*readBuffer)}
	one.users.Store(1)
	n, more, changed, err := l.recall(one.buf[:room], at)
	if err != nil || n == 0 {
		one.leave()
		return nil, nil, more && err == nil, changed
	}
	return [][]byte{one.buf[:n]}, held{one}, true, changed
}

package files

import (
	"context"
	"io"
	"io/fs"

	"github.com/berth-go/berth/agent/filewire"
)

// window is how many requests of a stream are under way at once, so that it need not wait for each answer.
const window = 4

// WriteTo writes the rest of the file to w. It needs memory for a few parts of 248 KiB.
func (f *File) WriteTo(w io.Writer) (n int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	type part struct {
		b   []byte
		err error
	}
	var parts []chan part
	defer func() {
		for _, p := range parts { // of a Writer that has failed
			<-p
		}
	}()
	f.ahead = nil
	for next := f.offset; ; {
		for len(parts) < window {
			p, at := make(chan part, 1), next
			go func() {
				b, err := f.fetch(at, filewire.MaxData)
				p <- part{b, err}
			}()
			parts = append(parts, p)
			next += filewire.MaxData
		}
		p := <-parts[0]
		parts = parts[1:]
		if p.err == nil && len(p.b) < filewire.MaxData {
			p.err = errAnswer // only the last part is shorter
		}
		if p.err != nil && p.err != io.EOF {
			return n, f.fail("read", p.err)
		}
		written, err := w.Write(p.b)
		n += int64(written)
		f.offset += int64(written)
		switch {
		case err == nil && written < len(p.b):
			return n, io.ErrShortWrite
		case err != nil:
			return n, err
		case p.err == io.EOF:
			return n, nil
		}
	}
}

// ReadFrom writes what r has to the file, and passes on each part as soon as r returns it. n is what the file has certainly got.
func (f *File) ReadFrom(r io.Reader) (n int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	type part struct {
		n   int
		err chan error
	}
	var parts []part
	f.ahead = nil
	settle := func(most int) {
		for len(parts) > most {
			p := parts[0]
			parts = parts[1:]
			switch failed := <-p.err; {
			case err != nil:
			case failed != nil:
				err = f.fail("write", failed)
			default:
				n += int64(p.n)
			}
		}
	}
	ahead := window - 1
	if f.append {
		ahead = 0 // they would change places
	}
	at := f.offset
	for err == nil {
		b := make([]byte, filewire.MaxData)
		got, failed := r.Read(b)
		if got > 0 {
			p, off := part{got, make(chan error, 1)}, at
			go func() {
				_, err := f.call(filewire.Request{Op: filewire.OpWrite, Offset: off, Data: b[:got]})
				p.err <- err
			}()
			parts, at = append(parts, p), at+int64(got)
		}
		if settle(ahead); failed != nil {
			settle(0)
			if err == nil && failed != io.EOF {
				err = failed
			}
			break
		}
	}
	settle(0)
	f.offset += n
	return n, err
}

// CopyIn makes the files of a tar archive, with their modes and times, below the directory of f. It owns them to the session. Directories
// above them are made. A file that is there is replaced, and a symbolic link is not followed in place of a file; a directory stays, with
// what is in it. Names that are absolute or lead out of the directory by "..", devices and named pipes are refused.
//
// It returns when all files are made. After an error, those that came before may be there. The error of r is one of them: the
// archive is not whole then. An error of an entry has its name.
func (f *FS) CopyIn(r io.Reader) error {
	_, h, err := f.open("copyin", ".", filewire.Request{Op: filewire.OpCopyIn})
	if err != nil {
		return err
	}
	end := func(abort bool) error {
		_, err := h.Call(f.ctx, &filewire.Request{Op: filewire.OpClose, Abort: abort})
		return err
	}
	fail := func(err error) error { return pathError("copyin", ".", err) }
	type part struct {
		b   []byte
		err error
	}
	parts, stop := make(chan part, 1), make(chan struct{})
	defer close(stop)
	go func() { // ends with r, or when its part is not taken; r may block
		for {
			b := make([]byte, filewire.MaxData)
			n, err := io.ReadFull(r, b)
			if err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			select {
			case parts <- part{b[:n], err}:
			case <-stop:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		var p part
		select {
		case p = <-parts:
		case <-f.ctx.Done():
			end(true)
			return fail(context.Cause(f.ctx))
		}
		if len(p.b) > 0 {
			if _, err := h.Call(f.ctx, &filewire.Request{Op: filewire.OpWrite, Data: p.b}); err != nil {
				end(true)
				return fail(err)
			}
		}
		switch {
		case p.err == io.EOF:
			if err := end(false); err != nil {
				return fail(err)
			}
			return nil
		case p.err != nil:
			end(true)
			return fail(p.err)
		}
	}
}

// CopyOut returns files and directories, with all below them, as a tar archive (PAX) that has their names as they are given here; "." is all of
// the directory of f. Sockets, devices and named pipes are left out, and a file that vanishes meanwhile, too. A file that gets shorter while it
// is read is an error. The archive holds no owners.
//
// The archive is made as it is read. It ends with io.EOF only if it is whole. Close it.
func (f *FS) CopyOut(names ...string) (io.ReadCloser, error) {
	for _, name := range names {
		if _, err := f.join(name); err != nil || name[0] == '/' {
			return nil, pathError("copyout", name, fs.ErrInvalid)
		}
	}
	_, h, err := f.open("copyout", ".", filewire.Request{Op: filewire.OpCopyOut, Paths: names})
	if err != nil {
		return nil, err
	}
	file := &File{fsys: f, name: ".", handle: h}
	r, w := io.Pipe()
	go func() { // ends with the archive, or when the reader is closed
		w.CloseWithError(file.pump(w))
		file.Close()
	}()
	return r, nil
}

// pump writes what can only be read in order to w. It asks for the next part before it writes one.
func (f *File) pump(w io.Writer) error {
	type part struct {
		b   []byte
		err error
	}
	ask := func() chan part {
		p := make(chan part, 1)
		go func() {
			b, err := f.fetch(0, filewire.MaxData)
			p <- part{b, err}
		}()
		return p
	}
	for next := ask(); ; {
		p := <-next
		if p.err != nil && p.err != io.EOF {
			return pathError("copyout", f.name, p.err)
		}
		if p.err == nil {
			next = ask()
		}
		if _, err := w.Write(p.b); err != nil {
			if p.err == nil {
				<-next
			}
			return err
		}
		if p.err == io.EOF {
			return nil
		}
	}
}

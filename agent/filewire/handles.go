package filewire

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"syscall"
)

// file is an open file or directory.
type file struct {
	node Node
	mu   sync.Mutex // held while the directory is read
	rest []fs.FileInfo
	over bool
}

func openFile(t Tree, name string, flag Flag, perm fs.FileMode) (a Answer, h handle, err error) {
	n, err := t.Open(name, flag, perm)
	if err != nil {
		return a, nil, err
	}
	if a, err = infoOf(n.Stat()); err != nil {
		n.Close()
		return a, nil, err
	}
	return a, &file{node: n}, nil
}

func (f *file) read(_ context.Context, r *Request) (a Answer, err error) {
	buf := make([]byte, r.Size)
	n, err := f.node.ReadAt(buf, r.Offset)
	if errors.Is(err, io.EOF) {
		a.End, err = true, nil
	}
	a.Data = buf[:n]
	return a, err
}

func (f *file) write(_ context.Context, r *Request) error {
	_, err := f.node.WriteAt(r.Data, r.Offset)
	return err
}

func (f *file) close(bool) error { return f.node.Close() }

// batch is how many entries are asked for at once.
const batch = 256

// list returns the next entries of a directory, as many as fit into a message.
func (f *file) list(most int) (a Answer, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for size := 0; (most == 0 || len(a.Infos) < most) && size < listSize; {
		if len(f.rest) == 0 {
			if !f.over {
				if f.rest, err = f.node.ReadDir(batch); err != nil {
					return Answer{}, err
				}
				f.over = len(f.rest) == 0
			}
			if f.over {
				a.End = true
				return a, nil
			}
		}
		info := describe(f.rest[0])
		f.rest = f.rest[1:]
		a.Infos, size = append(a.Infos, info), size+32+len(info.Name)
	}
	return a, nil
}

// watching is an open Watcher.
type watching struct {
	w    Watcher
	mu   sync.Mutex // held while events are read
	rest []Event
}

// read returns events as the bytes that Events reads.
func (h *watching) read(ctx context.Context, r *Request) (a Answer, err error) {
	if r.Size != 0 {
		return a, syscall.EINVAL
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.rest) == 0 {
		if h.rest, err = h.w.Next(ctx); err != nil {
			return a, err
		}
	}
	for len(h.rest) > 0 && len(a.Data) < listSize {
		a.Data = appendString(append(a.Data, byte(h.rest[0].Change)), h.rest[0].Name)
		h.rest = h.rest[1:]
	}
	return a, nil
}

func (h *watching) write(context.Context, *Request) error { return syscall.EBADF }
func (h *watching) close(bool) error                      { return h.w.Close() }

// Events reads the events in an answer.
func Events(data []byte) (events []Event, err error) {
	p := parser{b: data}
	for len(p.b) > 0 && p.err == nil {
		change := Change(p.byte())
		events = append(events, Event{Change: change, Name: p.string(maxPath)})
	}
	return events, p.err
}

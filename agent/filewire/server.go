package filewire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"syscall"
)

const (
	maxHandles = 1024 // of one connection
	maxWorking = 16   // requests that are worked on at once, without those that wait for events
)

// Serve answers requests for the files of a tree until in ends, and returns why: nil at its end.
func Serve(in io.Reader, out io.Writer, t Tree) error {
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{tree: t, out: out, ctx: ctx, working: make(chan struct{}, maxWorking), handles: make(map[uint32]handle)}
	defer s.requests.Wait()
	defer s.closeAll()
	defer cancel()
	r := bufio.NewReaderSize(in, 32<<10)
	for {
		frame, err := readFrame(r, nil)
		if errors.Is(err, io.EOF) {
			return nil
		}
		var id uint32
		var request Request
		if err == nil {
			id, request, err = parseRequest(frame)
		}
		if err != nil {
			return err
		}
		s.requests.Go(func() { s.serve(id, &request) })
	}
}

type server struct {
	tree     Tree
	out      io.Writer
	ctx      context.Context
	working  chan struct{}
	requests sync.WaitGroup
	writing  sync.Mutex // held while a frame is written

	mu      sync.Mutex // protects what follows
	seq     uint32
	handles map[uint32]handle
}

// A handle is what a client has open.
type handle interface {
	read(ctx context.Context, r *Request) (Answer, error)
	write(ctx context.Context, r *Request) error
	// close ends it. abort says that what was written is not whole.
	close(abort bool) error
}

func (s *server) serve(id uint32, r *Request) {
	waits := r.Op == OpRead && r.Size == 0
	if !waits {
		s.working <- struct{}{}
	}
	a, err := s.perform(r)
	if !waits {
		<-s.working
	}
	a.Err = err
	s.writing.Lock()
	defer s.writing.Unlock()
	s.out.Write(a.frame(id)) // a client that does not read it closes in, too
}

// perform carries out a request.
func (s *server) perform(r *Request) (Answer, error) {
	if need := pathsOf(r.Op); len(r.Paths) < need || r.Size > MaxData || r.Size < 0 || r.Op == 0 || r.Op >= lastOp {
		return Answer{}, syscall.EINVAL
	}
	switch r.Op {
	case OpPing:
		return Answer{}, nil
	case OpOpen, OpReadFile, OpCopyIn, OpCopyOut, OpWatch:
		return s.open(r)
	case OpFstat, OpRead, OpWrite, OpReadDir, OpClose:
		return s.use(r)
	}
	return performOn(s.tree, r)
}

// pathsOf returns how many paths an operation needs.
func pathsOf(op Op) int {
	switch op {
	case OpPing, OpFstat, OpRead, OpWrite, OpReadDir, OpClose:
		return 0
	case OpRename:
		return 2
	}
	return 1
}

// performOn carries out a request that leaves nothing open.
func performOn(t Tree, r *Request) (a Answer, err error) {
	name := r.Paths[0]
	switch r.Op {
	case OpStat:
		return infoOf(t.Stat(name))
	case OpLstat:
		return infoOf(t.Lstat(name))
	case OpReadLink:
		target, err := t.ReadLink(name)
		return Answer{Data: []byte(target)}, err
	case OpWriteFile:
		return a, writeFile(t, r)
	case OpMkdir:
		return a, t.Mkdir(name, r.Mode)
	case OpMkdirAll:
		return a, t.MkdirAll(name, r.Mode)
	case OpRemove:
		return a, t.Remove(name)
	case OpRemoveAll:
		return a, t.RemoveAll(name)
	case OpRename:
		return a, t.Rename(name, r.Paths[1])
	case OpChmod:
		return a, t.Chmod(name, r.Mode)
	case OpChtimes:
		return a, t.Chtimes(name, r.Times[0], r.Times[1])
	}
	return a, syscall.EINVAL
}

func infoOf(info fs.FileInfo, err error) (Answer, error) {
	if err != nil {
		return Answer{}, err
	}
	return Answer{Infos: []Info{describe(info)}}, nil
}

func describe(i fs.FileInfo) Info {
	return Info{Name: i.Name(), Size: i.Size(), Mode: i.Mode(), Mtime: i.ModTime()}
}

func writeFile(t Tree, r *Request) error {
	n, err := t.Open(r.Paths[0], Write|Create|Truncate, r.Mode)
	if err != nil {
		return err
	}
	if len(r.Data) > 0 {
		_, err = n.WriteAt(r.Data, 0)
	}
	return firstOf(err, n.Close())
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// open carries out a request that opens something.
func (s *server) open(r *Request) (a Answer, err error) {
	var h handle
	switch r.Op {
	case OpOpen:
		a, h, err = openFile(s.tree, r.Paths[0], r.Flag, r.Mode)
	case OpReadFile:
		if a, h, err = openFile(s.tree, r.Paths[0], Read, 0); err != nil {
			break
		}
		if a.Infos[0].Mode.IsDir() {
			h.close(true)
			return Answer{}, syscall.EISDIR
		}
		content, failed := h.read(s.ctx, &Request{Size: MaxData})
		a.Data, a.End = content.Data, content.End
		if failed != nil || a.End {
			h.close(true)
			return a, failed
		}
	case OpCopyIn:
		h = newUnpacking(s.tree, r.Paths[0])
	case OpCopyOut:
		h = newPacking(s.tree, r.Paths[0], r.Paths[1:])
	case OpWatch:
		var w Watcher
		if w, err = s.tree.Watch(r.Paths[0]); err == nil {
			h = &watching{w: w}
		}
	}
	if err != nil {
		return Answer{}, err
	}
	if a.Handle = s.keep(h); a.Handle == 0 {
		h.close(true)
		return Answer{}, syscall.EMFILE
	}
	return a, nil
}

// keep gives a handle a number; 0 = there are too many.
func (s *server) keep(h handle) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.handles) >= maxHandles {
		return 0
	}
	for s.seq++; s.seq == 0 || s.handles[s.seq] != nil; s.seq++ {
	}
	s.handles[s.seq] = h
	return s.seq
}

// use carries out a request for something that is open.
func (s *server) use(r *Request) (a Answer, err error) {
	s.mu.Lock()
	h := s.handles[r.Handle]
	if r.Op == OpClose {
		delete(s.handles, r.Handle)
	}
	s.mu.Unlock()
	if h == nil {
		return a, fs.ErrClosed
	}
	switch r.Op {
	case OpClose:
		return a, h.close(r.Abort)
	case OpWrite:
		return a, h.write(s.ctx, r)
	case OpFstat, OpReadDir:
		f, ok := h.(*file)
		switch {
		case !ok:
			return a, syscall.EBADF
		case r.Op == OpFstat:
			return infoOf(f.node.Stat())
		}
		return f.list(r.Size)
	}
	return h.read(s.ctx, r)
}

func (s *server) closeAll() {
	s.mu.Lock()
	all := s.handles
	s.handles = make(map[uint32]handle)
	s.mu.Unlock()
	for _, h := range all {
		h.close(true)
	}
}

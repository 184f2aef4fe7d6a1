package agent

import (
	"io"
	"sync"
)

// body is the body of a request that is made once. It remembers the error of its source.
type body struct {
	r io.Reader

	mu  sync.Mutex // protects err
	err error
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

// Close implements io.Closer. The source is the caller's.
func (b *body) Close() error { return nil }

func (b *body) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

package command

import "sync"

// A Tail is a Writer that keeps the end of what is written: the last 32 KiB. It is safe for concurrent use.
type Tail struct {
	mu    sync.Mutex // protects bytes
	bytes []byte     // at most twice maxTail, so that it is seldom cut
}

const maxTail = 32 << 10

func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := b[max(0, len(b)-maxTail):]
	if len(t.bytes)+len(kept) > 2*maxTail {
		t.bytes = append(t.bytes[:0], t.bytes[len(t.bytes)-maxTail:]...)
	}
	t.bytes = append(t.bytes, kept...)
	return len(b), nil
}

// Bytes returns the kept bytes.
func (t *Tail) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes[max(0, len(t.bytes)-maxTail):]
}

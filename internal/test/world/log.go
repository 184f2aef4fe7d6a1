package world

import (
	"bytes"
	"sync"
)

// Log keeps what is written to it. Its zero value is ready for use, also by several goroutines.
type Log struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns everything written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Logged returns what the Providers have logged so far.
func (w *World) Logged() string { return w.log.String() }

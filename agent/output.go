package agent

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// copyOut copies a stream of the program to w. One goroutine asks the agent, another one writes: while a chunk is written, the
// next ones are on their way.
//
// It copies from an offset on. missing says why that is not where the caller wanted it to begin.
func (p *Process) copyOut(name string, w io.Writer, from int64, missing error) *stream {
	s := &stream{name: name, over: make(chan struct{})}
	q := newQueue(p.ctx, from)
	if !p.c.spawn(func() { q.end(p.readAll(name, from, q)) }) {
		q.end(ErrClosed)
	}
	go func() { // ends with the stream, or with p.ctx; w may hold it up
		var own error
		for c := q.take(); c != nil; c = q.take() {
			if own == nil {
				if _, own = w.Write(c.b[:c.n]); own != nil && !p.keeps {
					// As with a closed pipe, the program's further writes fail.
					p.c.afterwards(http.MethodDelete, p.path+"/"+name)
				}
			}
			chunks.Put(c)
		}
		cut := cmp.Or(q.close(), missing)
		if own != nil {
			cut = nil // the Writer failed before
		}
		s.stop(StreamEnd{Own: own, Cut: cut})
	}()
	return s
}

// muchOutput is how many bytes in one answer make it worth to follow the stream. Most commands print less, and are spared the request
// with which following ends.
const muchOutput = 32 << 10

// readAll receives a stream until its end. It returns nil only after the last byte was put into q.
//
// It asks chunk by chunk, and after much output it follows the stream: the agent sends without being asked. A chunk that was asked for
// and received is in this program's memory, so the agent may forget it. Of a stream that is followed, the agent may forget what the
// Writer was given. However a followed stream stops, for its end, a lost connection or a pause, the next chunk is asked for.
func (p *Process) readAll(name string, from int64, q *queue) error {
	for at := from; ; {
		n, last, err := p.readSome(name, at, q)
		if at += int64(n); last || err != nil {
			return err
		}
		if err := q.drained(); err != nil {
			return err
		}
		if n >= muchOutput && p.c.follows() {
			if at, err = p.follow(name, at, q); err != nil {
				return err
			}
		}
	}
}

// readSome asks for the bytes from an offset on, and returns how many came.
func (p *Process) readSome(name string, at int64, q *queue) (n int, last bool, err error) {
	path := p.path + "/" + name + "?from=" + strconv.FormatInt(at, 10)
	var wrong error // the answer is of no use, and another try would not help
	err = p.c.do(p.ctx, request{method: http.MethodGet, path: path, timeout: longPoll, read: func(r *http.Response) error {
		if r.ContentLength < 0 || r.ContentLength > wire.Chunk {
			wrong = errBodyLength
			return nil
		}
		last = r.Header.Get(wire.HeaderEnd) != ""
		if r.ContentLength == 0 {
			return nil
		}
		full := chunks.Get().(*chunk)
		full.n = int(r.ContentLength)
		if _, err := io.ReadFull(r.Body, full.b[:full.n]); err != nil {
			chunks.Put(full)
			return err
		}
		n = full.n
		q.put(full)
		return nil
	}})
	if unknownCommand(err) {
		err = errDropped
	}
	return n, last, cmp.Or(err, wrong)
}

// follow receives the bytes from an offset on for as long as the agent sends some, and returns the offset behind the last one. Its
// error is final.
func (p *Process) follow(name string, at int64, q *queue) (int64, error) {
	path := p.path + "/" + name + "?follow=1&from=" + strconv.FormatInt(at, 10)
	acks := q.acks(at)
	defer acks.Close()
	var wrong error
	_, err := p.c.try(p.ctx, request{method: http.MethodGet, path: path, stream: acks, length: maxAcks * wire.AckSize, read: func(r *http.Response) error {
		// The agent sends something or ends the answer in time. One that does neither is taken for a lost connection.
		stalled := time.AfterFunc(silence, func() { r.Body.Close() })
		defer stalled.Stop()
		for {
			c := chunks.Get().(*chunk)
			var err error
			c.n, err = r.Body.Read(c.b[:])
			stalled.Reset(silence)
			at += int64(c.n)
			if held := q.put(c); held > wire.Ahead {
				wrong = errTooMuch
				r.Body.Close() // or the rest of it would be waited for
				return nil
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}})
	if unknownCommand(err) {
		err = errDropped
	}
	return at, cmp.Or(err, wrong)
}

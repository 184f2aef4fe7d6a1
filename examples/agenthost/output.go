package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-go/berth"
)

// output sends what the agent writes, from byte ?from=N on, or the last N bytes with ?from=-N, and goes on until the agent has ended. A
// client that accepts text/event-stream gets events:
//
//	event: gap     data: 4711             bytes were dropped, because the agent had written more than is kept: it goes on at this one
//	event: output  data: "…"  id: 4720    text, as a JSON string; the ID is the offset behind it
//	event: end     data: {"exitCode": 0}  there is no more
//
// A stream that ends without an end event was cut: by a restart of the backend, for example. The client asks again with the last ID
// as ?from, or as Last-Event-ID, which browsers send by themselves. Other clients get the bytes as they are, and the exit code in the
// trailer Exit-Code. Without that trailer, the bytes are not whole.
func (a *app) output(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.ParseInt(cmp.Or(r.Header.Get("Last-Event-ID"), r.FormValue("from"), "0"), 10, 64)
	if err != nil {
		refuse(w, &berth.FieldError{Field: "from", Reason: "must be a number"})
		return
	}
	ctx, cancel := lasting(r)
	defer cancel()
	cmd, out, err := a.attachOutput(ctx, r, from)
	if err != nil {
		refuse(w, err)
		return
	}
	var to sink = &plain{w: w}
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		to = newEvents(w)
	}
	at := cmd.StdoutFrom
	to.begin(at, from >= 0 && at > from)
	buf := make([]byte, 32<<10)
	for err == nil {
		var n int
		if n, err = out.Read(buf); n > 0 {
			at += int64(n)
			if to.write(buf[:n], at) != nil {
				cancel() // the client has left
			}
		}
	}
	waited := cmd.Wait()
	if code, known := exitOf(waited); known && errors.Is(err, io.EOF) {
		to.end(code)
	}
	to.close()
}

// attachOutput attaches to the output of the request's task.
func (a *app) attachOutput(ctx context.Context, r *http.Request, from int64) (*berth.Cmd, io.Reader, error) {
	s, err := a.find(r)
	if err != nil {
		return nil, nil, err
	}
	run, err := a.run(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	cmd, err := s.Attach(ctx, run.ID)
	if err != nil {
		return nil, nil, err
	}
	cmd.StdoutFrom = from
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return cmd, out, cmd.Start()
}

// sink is where output goes.
type sink interface {
	begin(at int64, gap bool)
	write(b []byte, behind int64) error
	end(code int)
	close()
}

// plain sends bytes as they are.
type plain struct{ w http.ResponseWriter }

func (p *plain) begin(at int64, _ bool) {
	p.w.Header().Set("Content-Type", "application/octet-stream")
	p.w.Header().Set("Trailer", "Exit-Code")
	p.w.Header().Set("Output-From", strconv.FormatInt(at, 10))
	p.w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(p.w).Flush() // the next write fails if the client has left
}

func (p *plain) write(b []byte, _ int64) error {
	_, err := p.w.Write(b)
	return errors.Join(err, http.NewResponseController(p.w).Flush())
}

func (p *plain) end(code int) { p.w.Header().Set("Exit-Code", strconv.Itoa(code)) }
func (p *plain) close()       {}

// pulse is the time after which an idle stream of events sends a comment, so that no proxy takes it for dead.
const pulse = 20 * time.Second

// events sends server-sent events.
type events struct {
	stop chan struct{}
	rest []byte // the beginning of a character whose end has not come yet

	w    http.ResponseWriter
	turn chan struct{} // holds one thing while w is free; a mutex that is waited for would stop the time of a test
}

func newEvents(w http.ResponseWriter) *events {
	w.Header().Set("Content-Type", "text/event-stream")
	e := &events{w: w, stop: make(chan struct{}), turn: make(chan struct{}, 1)}
	e.turn <- struct{}{}
	go func() { // ends with close
		beat := time.NewTicker(pulse)
		defer beat.Stop()
		for {
			select {
			case <-e.stop:
				return
			case <-beat.C:
			}
			select {
			case <-e.stop:
				return
			case <-e.turn:
				_ = e.flush(": \n\n") // the stream's next write fails too
				e.turn <- struct{}{}
			}
		}
	}()
	return e
}

func (e *events) send(text string) error {
	<-e.turn
	defer func() { e.turn <- struct{}{} }()
	return e.flush(text)
}

// flush writes a text. The caller has the turn.
func (e *events) flush(text string) error {
	_, err := io.WriteString(e.w, text)
	return errors.Join(err, http.NewResponseController(e.w).Flush())
}

func (e *events) begin(at int64, gap bool) {
	if gap {
		_ = e.send(fmt.Sprintf("event: gap\nid: %d\ndata: %d\n\n", at, at))
		return
	}
	_ = e.send(": from " + strconv.FormatInt(at, 10) + "\n\n")
}

// write sends whole characters. Bytes that are no UTF-8 become U+FFFD, as in every JSON string.
func (e *events) write(b []byte, behind int64) error {
	b = append(e.rest, b...)
	whole := len(b)
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				whole = i
			}
			break
		}
	}
	e.rest = append([]byte(nil), b[whole:]...)
	if whole == 0 {
		return nil
	}
	return e.output(b[:whole], behind-int64(len(e.rest)))
}

func (e *events) output(b []byte, behind int64) error {
	text, err := json.Marshal(string(b))
	if err != nil {
		return err
	}
	return e.send(fmt.Sprintf("event: output\nid: %d\ndata: %s\n\n", behind, text))
}

func (e *events) end(code int) {
	if len(e.rest) > 0 {
		_ = e.send("event: output\ndata: \"\\ufffd\"\n\n")
	}
	_ = e.send(fmt.Sprintf("event: end\ndata: {\"exitCode\":%d}\n\n", code))
}

// close ends the pulse.
func (e *events) close() {
	close(e.stop)
	<-e.turn // for good: no pulse is under way any more, and none comes
}

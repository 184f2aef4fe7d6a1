package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/wire"
)

// maxBody bounds what one request may carry: arguments and environment fit, as far as Linux takes them.
const maxBody = 16 << 20

func (d *Daemon) server() *http.Server {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			if err := h(w, r); err != nil {
				writeError(w, err)
			}
		})
	}
	handle("GET "+wire.Root+"hello", d.hello)
	handle("GET "+wire.Root+"watch", d.watch)
	handle("GET "+wire.Root+"state", d.state)
	handle("GET "+wire.Root+"sessions", d.listSessions)
	handle("GET "+wire.Root+"sessions/{id}", d.sessionActivity)
	handle("POST "+wire.Root+"calls/{id}", d.makeCall)
	handle("DELETE "+wire.Root+"calls/{id}", d.dropCall)
	handle("POST "+wire.Root+"commands/{id}", d.startCommand)
	handle("DELETE "+wire.Root+"commands/{id}", d.releaseCommand)
	handle("POST "+wire.Root+"commands/{id}/kill", d.killCommand)
	handle("GET "+wire.Root+"commands/{id}/exit", d.commandExit)
	handle("GET "+wire.Root+"commands/{id}/{stream}", d.commandOutput)
	handle("DELETE "+wire.Root+"commands/{id}/{stream}", d.closeOutput)
	handle("PUT "+wire.Root+"commands/{id}/stdin", d.commandInput)

	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   mux,
		Protocols: protocols,
		ErrorLog:  slog.NewLogLogger(d.Log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          100_000,
			MaxReadFrameSize:              wire.Chunk + 1<<10,
			MaxReceiveBufferPerStream:     1 << 20,
			MaxReceiveBufferPerConnection: 4<<20 - 1,
			SendPingTimeout:               20 * time.Second,
			PingTimeout:                   20 * time.Second,
		},
	}
}

func (d *Daemon) hello(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, wire.Hello{Protocol: wire.Protocol, Oldest: wire.Oldest, Build: d.build(), Boot: d.boot})
}

func (d *Daemon) state(w http.ResponseWriter, r *http.Request) error {
	n, idle := d.managers.others(r.FormValue("manager"))
	return writeJSON(w, wire.State{Managers: n, Idle: idle.Seconds()})
}

func (d *Daemon) watch(w http.ResponseWriter, r *http.Request) error {
	if id := r.FormValue("manager"); id != "" {
		defer d.managers.enter(id)()
	}
	w.WriteHeader(http.StatusOK)
	http.NewResponseController(w).Flush()
	<-r.Context().Done()
	return nil
}

func (d *Daemon) listSessions(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, d.sessions.list())
}

func (d *Daemon) sessionActivity(w http.ResponseWriter, r *http.Request) error {
	a, err := d.sessions.activity(r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, a)
}

// makeCall begins a call or joins it, and writes lines until it ends.
func (d *Daemon) makeCall(w http.ResponseWriter, r *http.Request) error {
	var request wire.Call
	if err := readJSON(r, &request); err != nil {
		return err
	}
	c := d.calls.join(r.PathValue("id"), func(ctx context.Context, c *call) wire.Line { return d.perform(ctx, c, request) })
	defer c.leave()
	out := json.NewEncoder(w)
	flush := http.NewResponseController(w).Flush
	alive := time.NewTicker(wire.Poll / 4)
	defer alive.Stop()
	var shown *wire.Progress
	for {
		step, changed := c.look()
		if step != shown {
			shown = step
			if out.Encode(wire.Line{Progress: step}) != nil || flush() != nil {
				return nil
			}
		}
		select {
		case <-c.ended:
			if out.Encode(c.last) == nil && flush() == nil && r.Context().Err() == nil {
				c.delivered()
			}
			return nil
		case <-changed:
		case <-alive.C:
			if out.Encode(wire.Line{}) != nil || flush() != nil {
				return nil
			}
		case <-r.Context().Done():
			return nil
		}
	}
}

// perform does what a call asks for.
func (d *Daemon) perform(ctx context.Context, c *call, request wire.Call) wire.Line {
	line := wire.Line{Done: true}
	var err error
	switch {
	case request.Fetch != nil:
		var m wire.Mirror
		m, err = d.mirror.Fetch(ctx, *request.Fetch, c.progress)
		line.Mirror = &m
	case request.Open != nil:
		var made bool
		line.Checkout, made, err = d.open(ctx, *request.Open)
		if made {
			c.undo = func() { // nobody looks at it before the call has ended
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := d.closeSession(ctx, wire.Close{ID: request.Open.ID, UID: request.Open.UID}); err != nil {
					d.Log.Error("a session that nobody waited for is left", "session", request.Open.ID, "error", err)
				}
			}
		}
	case request.Close != nil:
		err = d.closeSession(ctx, *request.Close)
	default:
		err = &wire.Error{Code: wire.CodeInvalid, Message: "unknown operation"}
	}
	if err != nil {
		line = wire.Line{Done: true, Error: toWire(err)}
		level := slog.LevelWarn
		if line.Error.Code == wire.CodeCanceled {
			level = slog.LevelDebug
		}
		d.Log.Log(ctx, level, "failed", "op", request.Op, "code", line.Error.Code, "error", line.Error.Message)
	}
	return line
}

func (d *Daemon) dropCall(w http.ResponseWriter, r *http.Request) error {
	if c := d.calls.drop(r.PathValue("id")); c != nil {
		c.giveUp()
	}
	return nil
}

func (d *Daemon) startCommand(w http.ResponseWriter, r *http.Request) error {
	var s wire.Start
	if err := readJSON(r, &s); err != nil {
		return err
	}
	return d.start(r.Context(), r.PathValue("id"), s)
}

func (d *Daemon) releaseCommand(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	c, fresh := d.commands.reserve(id)
	if fresh {
		return nil
	}
	if r.FormValue("kill") == "1" {
		<-c.ready // soon: a start is bounded
		if c.proc != nil {
			dead, err := d.kill(r.Context(), c)
			if err == nil && !dead {
				w.WriteHeader(http.StatusAccepted)
			}
			if err != nil || !dead {
				return err
			}
		}
	}
	d.commands.release(id)
	return nil
}

func (d *Daemon) killCommand(w http.ResponseWriter, r *http.Request) error {
	c, err := d.commands.get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	dead, err := d.kill(r.Context(), c)
	if err == nil && !dead {
		w.WriteHeader(http.StatusAccepted)
	}
	return err
}

func (d *Daemon) commandExit(w http.ResponseWriter, r *http.Request) error {
	c, err := d.commands.get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	timeout := time.NewTimer(wire.Poll)
	defer timeout.Stop()
	select {
	case <-c.ended:
		code, signal := c.proc.Exit()
		return writeJSON(w, wire.Exit{Code: code, Signal: signal})
	case <-timeout.C:
	case <-r.Context().Done():
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Daemon) closeOutput(_ http.ResponseWriter, r *http.Request) error {
	c, err := d.commands.get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if stream := c.stream(r.PathValue("stream")); stream != nil {
		stream.close()
	}
	return nil
}

func (d *Daemon) commandOutput(w http.ResponseWriter, r *http.Request) error {
	c, err := d.commands.get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	stream := c.stream(r.PathValue("stream"))
	at, err := strconv.ParseInt(r.FormValue("from"), 10, 64)
	if stream == nil || err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: "no such stream, or no offset"}
	}
	bytes, last, err := stream.from(r.Context(), at)
	if err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: err.Error()}
	}
	if last {
		w.Header().Set(wire.HeaderEnd, "1")
	}
	n := 0
	for _, b := range bytes {
		n += len(b)
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	for _, b := range bytes {
		w.Write(b) // what does not arrive is asked for again
	}
	return nil
}

func (d *Daemon) commandInput(w http.ResponseWriter, r *http.Request) error {
	c, err := d.commands.get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	query := r.URL.Query()
	at, err := strconv.ParseInt(query.Get("from"), 10, 64)
	if c.in == nil || err != nil || r.ContentLength < 0 || r.ContentLength > wire.Chunk {
		return &wire.Error{Code: wire.CodeInvalid, Message: "no such stream, no offset, or no length"}
	}
	b := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, b); err != nil {
		return err
	}
	state, err := c.in.put(r.Context(), at, b, query.Get("end") == "1")
	if err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: err.Error()}
	}
	return writeJSON(w, state)
}

func readJSON(r *http.Request, v any) error {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: "cannot read the request"} // it may hold a secret
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
	return nil
}

func writeError(w http.ResponseWriter, err error) {
	e := toWire(err)
	status := http.StatusInternalServerError
	switch e.Code {
	case wire.CodeUnknownSession, wire.CodeUnknownCommand, wire.CodeBranchNotFound:
		status = http.StatusNotFound
	case wire.CodeInvalid, wire.CodeNotExecutable:
		status = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(e)
}

// toWire gives an error the code that the client knows it by.
func toWire(err error) *wire.Error {
	var coded *wire.Error
	var failed *git.Error
	switch {
	case errors.As(err, &coded):
		return coded
	case errors.As(err, &failed):
		return &wire.Error{Code: wire.CodeGit, Op: failed.Op, Message: failed.Message}
	case errors.Is(err, mirror.ErrBranchNotFound):
		return &wire.Error{Code: wire.CodeBranchNotFound, Message: err.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &wire.Error{Code: wire.CodeCanceled, Message: err.Error()}
	}
	return &wire.Error{Code: wire.CodeInternal, Message: err.Error()}
}

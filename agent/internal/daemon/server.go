package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/h2"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/wire"
)

// maxBody bounds the body of a request. The largest arguments and environment that Linux takes fit in.
const maxBody = 16 << 20

func (d *Daemon) server() *h2.Server {
	routes := d.routes()
	return &h2.Server{Log: d.Log, Handler: func(s *h2.Stream) { serve(routes, s) }}
}

func (d *Daemon) hello(r *request) error {
	return writeJSON(r, wire.Hello{Protocol: wire.Protocol, Oldest: wire.Oldest, Build: d.build(), Boot: d.boot, Follow: true, Files: true, Work: true})
}

func (d *Daemon) state(r *request) error {
	n, idle := d.managers.others(r.query.Get("manager"))
	return writeJSON(r, wire.State{Managers: n, Idle: idle.Seconds()})
}

func (d *Daemon) watch(r *request) error {
	if id := r.query.Get("manager"); id != "" {
		defer d.managers.enter(id)()
	}
	r.Flush()
	<-r.Context().Done()
	return nil
}

func (d *Daemon) listSessions(r *request) error {
	return writeJSON(r, d.sessions.list())
}

func (d *Daemon) sessionActivity(r *request) error {
	a, err := d.sessions.activity(r.values["id"])
	if err != nil {
		return err
	}
	return writeJSON(r, a)
}

func (d *Daemon) renewSession(r *request) error {
	return d.sessions.renew(r.values["id"])
}

// makeCall begins or joins a call, and writes lines until the call ends.
func (d *Daemon) makeCall(r *request) error {
	var request wire.Call
	if err := readJSON(r, &request); err != nil {
		return err
	}
	c := d.calls.join(r.values["id"], func(ctx context.Context, c *call) wire.Line { return d.perform(ctx, c, request) })
	defer c.leave()
	out := json.NewEncoder(r)
	alive := time.NewTicker(wire.Poll / 4)
	defer alive.Stop()
	var shown *wire.Progress
	for {
		step, changed := c.look()
		if step != shown {
			shown = step
			if out.Encode(wire.Line{Progress: step}) != nil || r.Flush() != nil {
				return nil
			}
		}
		select {
		case <-c.ended:
			if out.Encode(c.last) == nil && r.Flush() == nil && r.Context().Err() == nil {
				c.delivered()
			}
			return nil
		case <-changed:
		case <-alive.C:
			if out.Encode(wire.Line{}) != nil || r.Flush() != nil {
				return nil
			}
		case <-r.Context().Done():
			return nil
		}
	}
}

// perform performs the operation of a call.
func (d *Daemon) perform(ctx context.Context, c *call, request wire.Call) wire.Line {
	line := wire.Line{Done: true}
	var err error
	switch {
	case request.Fetch != nil:
		var m wire.Mirror
		m, err = d.mirror.Fetch(ctx, *request.Fetch, c.progress)
		m.Size += d.caches.Size() + d.prepared.layers.Size() + d.lost.Size()
		line.Mirror = &m
	case request.Open != nil:
		var made bool
		line.Checkout, made, err = d.open(ctx, *request.Open)
		if made {
			c.undo = func() { // it is not read before the call has ended
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := d.closeSession(ctx, wire.Close{ID: request.Open.ID, UID: request.Open.UID}); err != nil {
					d.Log.Error("a session whose caller has given up cannot be closed", "session", request.Open.ID, "error", err)
				}
			}
		}
	case request.Close != nil:
		err = d.closeSession(ctx, *request.Close)
	case request.Fill != nil:
		line.Filled, err = d.fill(ctx, *request.Fill, c.progress)
	case request.Prepare != nil:
		line.Prepared, err = (&preparing{Daemon: d, request: *request.Prepare}).run(ctx, c.progress)
	case request.Keep != nil:
		line.Kept, err = keepWork(ctx, d, *request.Keep)
	case request.Bring != nil:
		line.Kept, err = bringWork(ctx, d, *request.Bring)
	case request.Promote != nil:
		line.Prepared, err = (&promoting{Daemon: d, request: *request.Promote}).run(ctx, c.progress)
	default:
		err = &wire.Error{Code: wire.CodeInvalid, Message: "unknown operation"}
	}
	if err != nil {
		line = wire.Line{Done: true, Error: toWire(err)}
		level := slog.LevelWarn
		if line.Error.Code == wire.CodeCanceled {
			level = slog.LevelDebug
		}
		args := []any{"op", request.Op, "code", line.Error.Code, "error", line.Error.Message}
		switch {
		case request.Open != nil:
			args = append(args, "session", request.Open.ID)
		case request.Close != nil:
			args = append(args, "session", request.Close.ID)
		case request.Promote != nil:
			args = append(args, "session", request.Promote.Session)
		}
		d.Log.Log(ctx, level, "failed", args...)
	}
	return line
}

func (d *Daemon) dropCall(r *request) error {
	if c := d.calls.drop(r.values["id"]); c != nil {
		c.giveUp()
	}
	return nil
}

func (d *Daemon) startCommand(r *request) error {
	var s wire.Start
	if err := readJSON(r, &s); err != nil {
		return err
	}
	return d.start(r.Context(), r.values["id"], s)
}

func (d *Daemon) releaseCommand(r *request) error {
	id := r.values["id"]
	c, fresh := d.commands.reserve(id)
	if fresh {
		return nil
	}
	if r.query.Get("kill") == "1" {
		<-c.ready // soon: a start is bounded
		if c.proc != nil {
			dead, err := d.kill(r.Context(), c)
			if err == nil && !dead {
				r.SetStatus(202)
			}
			if err != nil || !dead {
				return err
			}
		}
	}
	d.commands.end(id, r.query.Get("reset") == "1")
	return nil
}

func (d *Daemon) killCommand(r *request) error {
	c, err := d.commands.program(r)
	if err != nil {
		return err
	}
	dead, err := d.kill(r.Context(), c)
	if err == nil && !dead {
		r.SetStatus(202)
	}
	return err
}

// program returns the command that a request names, which is no connection.
func (cs *commands) program(r *request) (*command, error) {
	c, err := cs.get(r.Context(), r.values["id"])
	if err == nil && c.proc == nil {
		return nil, &wire.Error{Code: wire.CodeInvalid, Message: "it is no program"}
	}
	return c, err
}

func (d *Daemon) commandExit(r *request) error {
	c, err := d.commands.program(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wire.Poll)
	defer cancel()
	select {
	case <-c.ended:
		return writeJSON(r, c.exit())
	case <-ctx.Done():
	}
	r.SetStatus(204)
	return nil
}

func (d *Daemon) closeOutput(r *request) error {
	c, err := d.commands.get(r.Context(), r.values["id"])
	if err != nil {
		return err
	}
	if stream := c.stream(r.values["stream"]); stream != nil && stream.ring == nil {
		stream.close() // of a terminal, it hangs up
	}
	return nil
}

func (d *Daemon) commandOutput(r *request) error {
	c, err := d.commands.get(r.Context(), r.values["id"])
	if err != nil {
		return err
	}
	stream := c.stream(r.values["stream"])
	at, err := strconv.ParseInt(r.query.Get("from"), 10, 64)
	if stream == nil || err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: "no such stream, or no offset"}
	}
	switch {
	case r.query.Get("follow") == "":
	case stream.ring != nil:
		return follow(r, &ringReader{output: stream, acked: at}, at)
	default:
		return follow(r, stream, at)
	}
	bytes, last, err := stream.from(r.Context(), at)
	var cut *wire.Error
	switch {
	case errors.As(err, &cut):
		return cut
	case err != nil:
		return &wire.Error{Code: wire.CodeInvalid, Message: err.Error()}
	}
	if last {
		r.SetHeader(wire.HeaderEnd, "1")
	}
	r.SetHeader("content-length", strconv.FormatInt(size(bytes), 10))
	for _, b := range bytes {
		r.Write(b) // the client asks again for bytes that do not arrive
	}
	return nil
}

func (d *Daemon) commandInput(r *request) error {
	c, err := d.commands.get(r.Context(), r.values["id"])
	if err != nil {
		return err
	}
	at, err := strconv.ParseInt(r.query.Get("from"), 10, 64)
	if c.in == nil || err != nil || r.Length < 0 || r.Length > wire.Chunk {
		return &wire.Error{Code: wire.CodeInvalid, Message: "no such stream, no offset, or no length"}
	}
	b, free, err := r.Body()
	if err != nil {
		return err
	}
	if c.files != nil {
		d.sessions.touch(c.files)
	}
	state, err := c.in.put(r.Context(), r.query.Get("writer"), at, part{b, free}, r.query.Get("end") == "1")
	if err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: err.Error()}
	}
	return writeJSON(r, state)
}

func readJSON(r *request, v any) error {
	if err := json.NewDecoder(io.LimitReader(r, maxBody)).Decode(v); err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: "cannot read the request"} // it may hold a secret
	}
	return nil
}

func writeJSON(w *request, v any) error {
	w.SetHeader("content-type", "application/json")
	json.NewEncoder(w).Encode(v)
	return nil
}

func writeError(s *h2.Stream, err error) {
	e := toWire(err)
	status := 500
	switch e.Code {
	case wire.CodeUnknownSession, wire.CodeUnknownCommand, wire.CodeBranchNotFound, wire.CodeOverLimit:
		status = 404
	case wire.CodeInvalid, wire.CodeNotExecutable:
		status = 400
	}
	s.SetHeader("content-type", "application/json")
	s.SetStatus(status)
	json.NewEncoder(s).Encode(e)
}

// toWire returns an error with the code by which the client knows it. Its text is one line that shows as itself.
func toWire(err error) *wire.Error {
	e := *coded(err)
	e.Message = gitremote.Line(e.Message, 2*gitremote.MaxWords)
	return &e
}

func coded(err error) *wire.Error {
	var known *wire.Error
	var failed *git.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &failed):
		return &wire.Error{Code: wire.CodeGit, Op: failed.Op, Message: failed.Message}
	case errors.Is(err, os.ErrProcessDone):
		return &wire.Error{Code: wire.CodeEnded, Message: err.Error()}
	case errors.As(err, new(*egress.Refused)):
		return &wire.Error{Code: wire.CodeAddressRefused, Message: err.Error()}
	case errors.Is(err, mirror.ErrBranchNotFound):
		return &wire.Error{Code: wire.CodeBranchNotFound, Message: err.Error()}
	case errors.Is(err, mirror.ErrProofRequired):
		return &wire.Error{Code: wire.CodeProofRequired, Message: err.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &wire.Error{Code: wire.CodeCanceled, Message: err.Error()}
	}
	return &wire.Error{Code: wire.CodeInternal, Message: err.Error()}
}

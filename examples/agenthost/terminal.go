package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/coder/websocket"

	"github.com/berth-go/berth"
)

// shell is what runs in a terminal.
var shell = []string{"sh", "-c", `command -v bash >/dev/null && exec bash || exec sh`}

const (
	keepShown = 1 << 20          // bytes of a terminal that are kept for a browser that comes back
	alive     = 30 * time.Second // between two questions whether the browser is there
	maxTyped  = 1 << 20          // bytes of one message
)

// message is what goes over the websocket beside bytes. Bytes are binary messages: what the terminal shows, and what is typed.
type message struct {
	ID   string `json:"id,omitempty"` // to the browser, at first: the terminal, and the offset of what comes first
	From int64  `json:"from"`
	Exit *int   `json:"exit,omitempty"` // to the browser, at last: the exit code of the shell
	Rows uint16 `json:"rows,omitempty"` // to the terminal: its size
	Cols uint16 `json:"cols,omitempty"`
}

// terminal is a terminal in a task: ?rows and ?cols are its size. It is a command of its own, which outlives the websocket and the backend.
// A browser that was cut off comes back with the terminal's ?id, and with ?from, the offset behind the last byte that it has got.
func (a *app) terminal(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := lasting(r)
	defer cancel()
	s, err := a.find(r)
	if err != nil {
		refuse(w, err)
		return
	}
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(r.FormValue(name), 10, 64) // 0 = the beginning, and a size that is not known
		return n
	}
	size := berth.TTYSize{Rows: uint16(number("rows")), Cols: uint16(number("cols"))}
	id := r.FormValue("id")
	if id == "" {
		if id, err = openTerminal(ctx, s, size); err != nil {
			refuse(w, err)
			return
		}
	}
	cmd, err := s.Attach(ctx, id)
	if err != nil {
		refuse(w, err)
		return
	}
	cmd.StdoutFrom = max(number("from"), 0)
	conn, err := websocket.Accept(w, r, nil) // refuses other sites, and answers
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxTyped)
	if err := (&wire{conn: conn, cmd: cmd, id: id, size: size}).run(ctx, cancel); err != nil {
		a.log.Info("a terminal was left", "session", s.ID(), "error", err)
	}
}

// openTerminal starts a shell.
func openTerminal(ctx context.Context, s *berth.Session, size berth.TTYSize) (id string, err error) {
	cmd := s.Command(ctx, shell[0], shell[1:]...)
	cmd.TTY, cmd.Detached, cmd.Keep = &size, true, keepShown
	cmd.Env = []string{"TERM=xterm-256color"}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	go cmd.Wait() // returns when the shell has ended, or when the Provider is closed
	return cmd.ID(), nil
}

// wire joins a terminal with a websocket.
type wire struct {
	conn *websocket.Conn
	cmd  *berth.Cmd
	id   string
	size berth.TTYSize
}

// run copies both ways until the shell has ended or the browser has left.
func (t *wire) run(ctx context.Context, cancel context.CancelFunc) error {
	typed, err := t.cmd.StdinPipe()
	if err != nil {
		return err
	}
	shown, err := t.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := t.cmd.Start(); err != nil {
		t.conn.Close(websocket.StatusGoingAway, "the terminal cannot be reached")
		return err
	}
	// From here on, the end of ctx ends the copying; the shell goes on. Its input must not end before that: then the shell would, too.
	if err := t.tell(ctx, message{ID: t.id, From: t.cmd.StdoutFrom}); err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() {
		read <- t.read(ctx, typed)
		cancel()
	}()
	go t.ping(ctx, cancel)
	err = t.show(ctx, shown)
	waited := t.cmd.Wait()
	if code, known := exitOf(waited); known && err == nil {
		err = t.tell(ctx, message{Exit: &code})
		t.conn.Close(websocket.StatusNormalClosure, "")
	} else if ctx.Err() == nil {
		t.conn.Close(websocket.StatusTryAgainLater, "") // what is missing can be had again
	}
	cancel()
	t.conn.CloseNow()
	<-read
	return err
}

// show copies what the terminal shows. It returns nil at its end.
func (t *wire) show(ctx context.Context, shown io.Reader) error {
	for buf := make([]byte, 32<<10); ; {
		n, err := shown.Read(buf)
		if n > 0 {
			if err := t.conn.Write(ctx, websocket.MessageBinary, buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// read copies what is typed, and resizes the terminal.
func (t *wire) read(ctx context.Context, typed io.Writer) error {
	for {
		kind, b, err := t.conn.Read(ctx)
		if err != nil {
			return err
		}
		if kind == websocket.MessageBinary {
			if _, err := typed.Write(b); err != nil {
				return err
			}
			continue
		}
		var m message
		if err := json.Unmarshal(b, &m); err != nil {
			return err
		}
		if err := t.cmd.Resize(berth.TTYSize{Rows: m.Rows, Cols: m.Cols}); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
}

// ping ends the terminal's connection when the browser does not answer any more.
func (t *wire) ping(ctx context.Context, cancel context.CancelFunc) {
	beat := time.NewTicker(alive)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		answer, stop := context.WithTimeout(ctx, alive)
		err := t.conn.Ping(answer)
		stop()
		if err != nil {
			cancel()
			return
		}
	}
}

func (t *wire) tell(ctx context.Context, m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return t.conn.Write(ctx, websocket.MessageText, b)
}

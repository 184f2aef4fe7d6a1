package agent

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// Fetch brings the container's mirror up to date. Concurrent fetches wait for each other and share what they can.
// A mirror that is broken is made anew. progress, unless nil, is called from this goroutine.
//
// *GitError: git failed; a mirror that was whole before still is. ErrBranchNotFound: it was fetched, but f.Branch is
// not there.
func (c *Client) Fetch(ctx context.Context, f Fetch, progress func(Progress)) (Mirror, error) {
	line, err := c.call(ctx, wire.Call{Op: wire.OpFetch, Fetch: &wire.Fetch{
		URL: f.URL, Username: f.Username, Password: f.Password, MaxAge: f.MaxAge, Branch: f.Branch,
	}}, progress)
	if err != nil {
		return Mirror{}, err
	}
	return Mirror(*line.Mirror), nil
}

// Open makes a session's place: home, temporary directory, and a repository of its own with the branch checked out,
// which borrows the mirror's objects. Opening an open session returns what is there. A failed Open leaves nothing.
//
// ErrBranchNotFound: the mirror has no such branch. *GitError: the files could not be written.
func (c *Client) Open(ctx context.Context, s Session) (Checkout, error) {
	open := &wire.Session{
		ID: s.ID, UID: s.UID, Dir: s.Dir, URL: s.URL, Branch: s.Branch,
		AuthorName: s.Author.Name, AuthorEmail: s.Author.Email,
	}
	for key, value := range s.Env {
		open.Env = append(open.Env, []byte(key+"="+value))
	}
	line, err := c.call(ctx, wire.Call{Op: wire.OpOpen, Open: open}, nil)
	if err != nil {
		return Checkout{}, err
	}
	return Checkout(*line.Checkout), nil
}

// CloseSession kills every process of the session's uid, then removes all that it owned: its place, System V objects,
// and what it left in directories that any uid may write in, as far as those are not more than three levels below the
// root. It returns when both are done. Closing an unknown session does the same for its uid; closing twice is fine.
func (c *Client) CloseSession(ctx context.Context, id string, uid int) error {
	_, err := c.call(ctx, wire.Call{Op: wire.OpClose, Close: &wire.Close{ID: id, UID: uid}}, nil)
	return err
}

// silence is how long a call's answer may pause: the agent gives a sign of life far more often.
const silence = wire.Poll + 10*time.Second

// call makes the agent do something that may take long. If the connection breaks, the agent goes on, and the call is
// found again by its ID. If the context ends, the agent is told to give it up.
func (c *Client) call(ctx context.Context, what wire.Call, progress func(Progress)) (wire.Line, error) {
	body, err := json.Marshal(what)
	if err != nil {
		return wire.Line{}, err
	}
	path := "calls/" + rand.Text()
	var last wire.Line
	err = c.do(ctx, request{method: http.MethodPost, path: path, body: body, read: func(r *http.Response) error {
		// The stream is closed when it has been silent for too long: reading then fails, and it is made again.
		stalled := time.AfterFunc(silence, func() { r.Body.Close() })
		defer stalled.Stop()
		for in := json.NewDecoder(r.Body); ; stalled.Reset(silence) {
			var line wire.Line
			if err := in.Decode(&line); err != nil {
				return err
			}
			if line.Progress != nil && progress != nil {
				progress(Progress(*line.Progress))
			}
			if line.Done {
				last = line
				return nil
			}
		}
	}})
	if err != nil {
		if ctx.Err() != nil {
			c.afterwards(http.MethodDelete, path)
		}
		return wire.Line{}, err
	}
	if last.Error != nil {
		return wire.Line{}, fromWire(last.Error)
	}
	missing := what.Fetch != nil && last.Mirror == nil || what.Open != nil && last.Checkout == nil
	if missing {
		return wire.Line{}, errIncomplete
	}
	return last, nil
}

var errIncomplete = errors.New("the agent's answer is incomplete")

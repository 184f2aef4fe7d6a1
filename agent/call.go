package agent

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Fetch updates the container's mirror. Concurrent fetches wait for each other and share their work if they can. A broken
// mirror is cloned again. progress, unless nil, is called from this goroutine.
//
// Fetch returns a *GitError if git failed; a mirror that was whole before still is. It returns ErrBranchNotFound if the
// remote was fetched and has no f.Branch. It returns errors.ErrUnsupported if the agent is too old for f.Prove.
func (c *Client) Fetch(ctx context.Context, f Fetch, progress func(Progress)) (Mirror, error) {
	line, err := c.call(ctx, wire.Call{Op: wire.OpFetch, Fetch: &wire.Fetch{
		URL: f.URL, Username: f.Username, Password: f.Password, MaxAge: f.MaxAge, Branch: f.Branch,
		Env: variables(f.Env), Prove: f.Prove, KnownHosts: f.KnownHosts,
	}}, progress)
	if err != nil {
		return Mirror{}, err
	}
	m := line.Mirror
	if f.Prove && !m.Checked {
		return Mirror{}, errCannotProve
	}
	return Mirror{Cold: m.Cold, Fetched: m.Fetched, Size: m.Size, Free: m.Free, Private: m.Private, Proven: m.Proven}, nil
}

// Open makes a session's home, its temporary directory, and a repository of its own with the branch checked out. The
// repository borrows the mirror's objects or has a copy of them. Opening an open session returns its checkout. A failed Open
// leaves nothing.
//
// Open returns ErrBranchNotFound if the mirror has no such branch, tag or commit, ErrProofRequired if the mirror is private and
// s.Proven is not set, ErrIncompatible if the agent is too old for s.SelfContained, s.Credentials, s.Submodules or s.LFS, errors.ErrUnsupported if it is too old to
// check s.Proven, and a *GitError if the files could not be written.
func (c *Client) Open(ctx context.Context, s Session) (Checkout, error) {
	open := &wire.Session{
		ID: s.ID, UID: s.UID, Dir: s.Dir, URL: s.URL, Branch: s.Branch,
		AuthorName: s.Author.Name, AuthorEmail: s.Author.Email, Env: variables(s.Env), SelfContained: s.SelfContained,
		Unproven: !s.Proven, Credentials: s.Credentials, KnownHosts: s.KnownHosts, SSH: s.SSH, Submodules: s.Submodules, LFS: s.LFS,
	}
	if !s.Bare {
		open.Prepare = s.Prepare.wire(s.Image)
	}
	for _, cache := range s.Caches {
		open.Caches = append(open.Caches, wire.SharedDir(cache))
	}
	line, err := c.call(ctx, wire.Call{Op: wire.OpOpen, Open: open}, nil)
	if err != nil {
		return Checkout{}, err
	}
	if !s.Proven && !line.Checkout.Checked {
		return Checkout{}, errors.Join(errCannotProve, c.CloseSession(ctx, s.ID, s.UID))
	}
	if s.SelfContained && !line.Checkout.SelfContained {
		return Checkout{}, errors.Join(
			fmt.Errorf("%w: it cannot make a self-contained checkout; a container that starts anew can", ErrIncompatible),
			c.CloseSession(ctx, s.ID, s.UID))
	}
	if s.Credentials && !line.Checkout.Credentials || s.SSH && !line.Checkout.SSH {
		return Checkout{}, errors.Join(
			fmt.Errorf("%w: its sessions' gits cannot ask for credentials; a container that starts anew can", ErrIncompatible),
			c.CloseSession(ctx, s.ID, s.UID))
	}
	if (s.Submodules || s.LFS) && !line.Checkout.Populated {
		return Checkout{}, errors.Join(
			fmt.Errorf("%w: it checks out neither submodules nor files of Git LFS; a container that starts anew does", ErrIncompatible),
			c.CloseSession(ctx, s.ID, s.UID))
	}
	made := line.Checkout
	return Checkout{Workdir: made.Workdir, Branch: made.Branch, Commit: made.Commit, SelfContained: made.SelfContained, Prepared: made.Prepared}, nil
}

// errCannotProve is the error of an agent that may have opened a private mirror to everybody.
var errCannotProve = fmt.Errorf("the agent is too old to prove access to its repository; a container that starts anew can: %w", errors.ErrUnsupported)

// variables returns an environment in the form in which it is sent, in order of the keys.
func variables(env map[string]string) (all [][]byte) {
	for _, key := range slices.Sorted(maps.Keys(env)) {
		all = append(all, []byte(key+"="+env[key]))
	}
	return all
}

// CloseSession kills every process of the session, and then removes all that its uid owned: the session's directories, and, if it
// had no room, System V objects and files in directories that any uid may write in, if those are at most three levels below the
// root. It returns when both are done. The directories of a session that had a room are then out of reach for all sessions, and are removed
// in the background. Closing an unknown session does the same for its uid. Closing twice succeeds.
func (c *Client) CloseSession(ctx context.Context, id string, uid int) error {
	_, err := c.call(ctx, wire.Call{Op: wire.OpClose, Close: &wire.Close{ID: id, UID: uid}}, nil)
	return err
}

// silence is the longest pause in a call's answer. The agent gives a sign of life far more often.
const silence = wire.Poll + 10*time.Second

// call makes the agent do something that may take long. If the connection breaks, the agent continues, and the client finds
// the call again by its ID. If the context ends, the client tells the agent to give the call up.
func (c *Client) call(ctx context.Context, what wire.Call, progress func(Progress)) (wire.Line, error) {
	body, err := json.Marshal(what)
	if err != nil {
		return wire.Line{}, err
	}
	path := "calls/" + rand.Text()
	var last wire.Line
	err = c.do(ctx, request{method: http.MethodPost, path: path, body: body, read: func(r *http.Response) error {
		// A stream that is silent for too long is closed: reading then fails, and the request is made again.
		stalled := time.AfterFunc(silence, func() { r.Body.Close() })
		defer stalled.Stop()
		for in := json.NewDecoder(r.Body); ; stalled.Reset(silence) {
			var line wire.Line
			if err := in.Decode(&line); err != nil {
				return err
			}
			if line.Progress != nil && progress != nil {
				progress(Progress{Phase: gitremote.Line(line.Progress.Phase, 200), Percent: line.Progress.Percent})
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

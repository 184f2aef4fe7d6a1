package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/privacy"
	"github.com/berth-go/berth/agent/internal/wire"
)

// ErrProofRequired says that the mirror is private, and that a session has proven nothing.
var ErrProofRequired = errors.New("a credential was needed to fetch the repository, and the session has not proven that its own reads it")

// proofTimeout bounds how long a remote is asked whether it admits a credential.
const proofTimeout = time.Minute

// maxProofs bounds how many proofs run at once: each is a git and its helpers, which count as processes of one uid.
const maxProofs = 8

// access keeps who may use the mirror.
type access struct {
	mark   privacy.Mark
	proofs chan struct{} // a slot for each proof that runs

	mu      sync.Mutex // protects what follows; held while the mark is changed, which is quick
	guests  int        // sessions that have proven nothing
	running map[[sha256.Size]byte]*proof
}

// A proof is a question to the remote that runs, for all that ask the same.
type proof struct {
	done chan struct{} // closed at its end, when err is set
	err  error
}

// Enter admits a session to the mirror, and returns its refs; nil if there is no mirror. The session uses the mirror until
// leave is called. While sessions that have proven nothing use the mirror, it does not become private. ErrProofRequired.
func (m *Mirror) Enter(proven bool) (refs *Refs, leave func(), err error) {
	if refs := m.refs.Load(); proven || refs == nil {
		return refs, func() {}, nil
	}
	a := &m.access
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.guests == 0 {
		switch ok, err := a.mark.Guests(true); {
		case err != nil:
			return nil, nil, err
		case !ok:
			return nil, nil, ErrProofRequired
		}
	}
	a.guests++
	return m.refs.Load(), sync.OnceFunc(func() { m.leave() }), nil
}

func (m *Mirror) leave() {
	a := &m.access
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.guests--; a.guests > 0 {
		return
	}
	if _, err := a.mark.Guests(false); err != nil { // git gets no credential until the agent starts again
		m.Log.Error("cannot store that no session without a proof is left", "error", err)
	}
}

// admit completes the answer to a request. If the mirror is private and the request wants a proof, admit asks the remote, unless
// the fetch has read it with the request's own credential.
func (m *Mirror) admit(ctx context.Context, r wire.Fetch, result wire.Mirror, own bool, progress func(wire.Progress)) (wire.Mirror, error) {
	result.Checked, result.Private = true, m.access.mark.Private()
	result.Proven = result.Private && own // from a public repository, anything is read with any credential
	if !result.Private || own || !r.Prove {
		return result, nil
	}
	if err := m.prove(ctx, r, progress); err != nil {
		return wire.Mirror{}, err
	}
	result.Proven = true
	return result, nil
}

// prove returns nil if the remote admits the credential of a request. *git.Error. Equal requests share a question.
func (m *Mirror) prove(ctx context.Context, r wire.Fetch, progress func(wire.Progress)) error {
	text, err := json.Marshal(way(r))
	if err != nil {
		return err
	}
	key, a := sha256.Sum256(text), &m.access
	for {
		a.mu.Lock()
		other := a.running[key]
		if other == nil {
			mine := &proof{done: make(chan struct{})}
			a.running[key] = mine
			a.mu.Unlock()
			mine.err = m.ask(ctx, r, progress)
			a.mu.Lock()
			delete(a.running, key)
			a.mu.Unlock()
			close(mine.done)
			return mine.err
		}
		a.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !errors.Is(other.err, context.Canceled) || m.ctx.Err() != nil { // otherwise who asked has given up
			return other.err
		}
	}
}

// ask asks the remote whether it admits the credential of a request.
func (m *Mirror) ask(ctx context.Context, r wire.Fetch, progress func(wire.Progress)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, proofTimeout, &git.Error{Op: "ls-remote", Message: "the remote does not answer: no end after " + proofTimeout.String()})
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	select {
	case m.access.proofs <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-m.access.proofs }()
	if progress == nil {
		progress = func(wire.Progress) {}
	}
	return m.retry(ctx, progress, func() error {
		// Protocol 2 answers this with one ref. The answer is empty if the remote's HEAD names nothing.
		_, err := m.remote(ctx, r, m.job("ls-remote", r, nil, "ls-remote", "--", r.URL, "HEAD"))
		return err
	})
}

package session

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/berth-go/berth/internal/admission"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// Access decides who may have sessions. Its methods are safe for concurrent use.
type Access interface {
	// Authorize returns nil if the user of a request may have a session on its repository. It is asked before the session
	// is stored. It may remember what it has found out.
	Authorize(ctx context.Context, r *Request) error
	// Forget drops what Authorize remembers of a user and a repository, and what calls of Authorize that are under way are
	// about to remember. The zero Repository means all of the user's.
	Forget(userID string, repository naming.Repository)
}

// A revocation is counted on the record of the user. Each process remembers the count that it knows of a user, and forgets
// what it knows of the user's access before it remembers a higher one. A session is stored with the count that was known
// before the user was authorized. If the user's record says otherwise in the transaction that admits the session, the user
// was authorized too early: the process forgets, and authorizes anew. That costs no call of the store while nothing is
// revoked.

// revocations are the counts that this process knows.
type revocations struct {
	mu     sync.Mutex // protects byUser
	byUser map[string]uint64
}

// maxRevocations bounds the users that are remembered. A user who is forgotten is authorized once more.
const maxRevocations = 10_000

// of returns the count of a user; 0 = none is known.
func (r *revocations) of(userID string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byUser[userID]
}

func (r *revocations) set(userID string, n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byUser == nil || len(r.byUser) >= maxRevocations {
		r.byUser = make(map[string]uint64)
	}
	r.byUser[userID] = n
}

// admitAuthorized stores a new session of a user who may have it, as Queue.Admit does.
func (m *Manager) admitAuthorized(ctx context.Context, r *Request, fresh *store.Session) (s *store.Session, ours bool, err error) {
	for {
		fresh.Revocations = m.revoked.of(r.UserID)
		if m.cfg.Access != nil {
			if err := m.cfg.Access.Authorize(ctx, r); err != nil {
				return nil, false, err
			}
		}
		s, ours, err = m.cfg.Queue.Admit(ctx, fresh)
		stale, ok := errors.AsType[*admission.StaleError](err)
		if !ok {
			return s, ours, err
		}
		m.forgetAccess(r.UserID, naming.Repository{}, stale.Revocations) // it is not known which were revoked
	}
}

// forgetAccess forgets what this process knows of a user's access, and then remembers the count of the revocation.
func (m *Manager) forgetAccess(userID string, repository naming.Repository, count uint64) {
	if m.cfg.Access != nil {
		m.cfg.Access.Forget(userID, repository)
	}
	m.revoked.set(userID, count)
}

// Revoke ends the sessions that a user has on a repository, in whichever process, and returns when nothing is left of them.
// The zero Repository means all of the user's. Sessions whose user was authorized afterwards stay. If ctx ends first, the
// work goes on. The error joins what has failed.
func (m *Manager) Revoke(ctx context.Context, userID string, repository naming.Repository) error {
	count, err := m.countRevocation(ctx, userID)
	if err != nil {
		return fmt.Errorf("the revocation cannot be stored: %w", err)
	}
	if known := m.revoked.of(userID); known+1 != count { // another process has revoked, too, and that was not noticed here
		m.forgetAccess(userID, naming.Repository{}, count)
	} else {
		m.forgetAccess(userID, repository, count)
	}
	q := store.SessionQuery{UserID: userID, Repository: repository, States: []store.SessionState{
		store.SessionCreating, store.SessionActive, store.SessionTerminating,
	}}
	var (
		ends   sync.WaitGroup
		mu     sync.Mutex // protects failed
		failed []error
	)
	why := store.Failure{Reason: store.EndRevoked}
	for s, err := range store.Sessions(ctx, m.cfg.Store, q) {
		if err != nil {
			mu.Lock()
			failed = append(failed, fmt.Errorf("the sessions cannot be found: %w", err))
			mu.Unlock()
			break
		}
		if s.Revocations >= count {
			continue
		}
		ends.Go(func() {
			if err := m.terminate(ctx, s.ID, why); err != nil && !errors.Is(err, errs.ErrSessionNotFound) {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	ends.Wait()
	return errors.Join(failed...)
}

// countRevocation counts one more revocation of a user, and returns the count.
func (m *Manager) countRevocation(ctx context.Context, userID string) (count uint64, err error) {
	err = m.cfg.Retry.Update(ctx, []store.Key{store.UserKey(userID)}, func(tx store.Tx) error {
		user, err := store.Find[*store.User](tx, store.UserKey(userID))
		if err != nil {
			return err
		}
		if user == nil {
			user = &store.User{ID: userID}
		}
		user.Revocations++
		count = user.Revocations
		return tx.Put(user)
	})
	return count, err
}

package session

import (
	"fmt"
	"maps"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/access"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Request is a request for a session, checked and parsed.
type Request struct {
	TaskID, UserID string
	Remote         naming.Remote
	Key            naming.Key
	ContainerName  string // of Key
	Credential     orchestrator.Credential
	Access         access.Subject // what is known, or to be proven, of Credential
	Branch         string
	Env            map[string]string // of this session's commands
	Labels         map[string]string
	Author         agent.Author
	IdleTimeout    time.Duration // -1 = none
	MaxLifetime    time.Duration // 0 = none
	SelfContained  bool
	NewBranch      string // that is begun at Branch; "" = none
	Restore        string // the task whose saved work is restored; "" = none
	RestoreKept    string // the session whose work is kept on the instance; "" = none
	Submodules     bool
	LFS            bool
	Snapshot       string // its ID; "" = none
	SnapshotScope  string // whose snapshots the request may name: see work.Owner
	Foreign        bool   // the snapshot is another user's
}

// record returns the record of a new session.
func (r *Request) record(id, owner string, now time.Time) *store.Session {
	return &store.Session{
		ID:     id,
		TaskID: r.TaskID, UserID: r.UserID, SharingKey: r.Key, ContainerName: r.ContainerName, Remote: r.Remote.URL, Branch: r.Branch,
		Labels: r.Labels, AuthorName: r.Author.Name, AuthorEmail: r.Author.Email, IdleTimeout: r.IdleTimeout, MaxLifetime: r.MaxLifetime,
		SelfContained: r.SelfContained, NewBranch: r.NewBranch, Restore: r.Restore, RestoreKept: r.RestoreKept, Submodules: r.Submodules, LFS: r.LFS, Snapshot: r.Snapshot,
		State: store.SessionCreating, Owner: owner, CreatedAt: now,
	}
}

// matches reports whether a session that has the request's TaskID is what the request asks for.
func (r *Request) matches(s *store.Session) bool {
	return s.UserID == r.UserID && s.SharingKey == r.Key && s.Branch == r.Branch &&
		s.SelfContained == r.SelfContained && s.NewBranch == r.NewBranch && s.Restore == r.Restore && s.RestoreKept == r.RestoreKept &&
		s.Submodules == r.Submodules && s.LFS == r.LFS && s.Snapshot == r.Snapshot
}

// wrap says which task an error is about. A StartError says so itself.
func (r *Request) wrap(err error) error {
	if _, ok := err.(*errs.StartError); ok {
		return err
	}
	return fmt.Errorf("task %q on %s: %w", r.TaskID, r.Key.Repository, err)
}

// environ returns the environment of the session's commands. The request's wins over that of all sessions.
func (r *Request) environ(all map[string]string) map[string]string {
	env := make(map[string]string, len(all)+len(r.Env))
	maps.Copy(env, all)
	maps.Copy(env, r.Env)
	return env
}

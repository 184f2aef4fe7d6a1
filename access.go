package berth

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"

	sshagent "golang.org/x/crypto/ssh/agent"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/internal/access"
	"github.com/berth-go/berth/internal/session"
	"github.com/berth-go/berth/internal/snapshot"
	sshkeys "github.com/berth-go/berth/internal/sshagent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// AccessRequest is a request for a session as [Config.Authorize] and [Sharing] see it. It holds no secret.
type AccessRequest struct {
	UserID     string
	TaskID     string
	Repository naming.Repository
	Branch     string // as in the request; "" = the remote's default branch
	Labels     map[string]string
	// Snapshot is the ID of the snapshot that the request names; "" = none. Foreign says that another user has made it: package
	// snapshots finds out who.
	Snapshot string
	Foreign  bool
	// Credential is the fingerprint of the credential in SessionRequest.Repository: equal credentials have equal fingerprints,
	// in every process. It is a SHA-256 hash, in hex, from which a weak password can be guessed. "" = the request has none: then
	// Config.Credentials is asked
	Credential string
}

// Access says when a user must prove access: that the credential of its own request reads the repository. What was fetched
// without a credential needs no proof in any case. Neither does a request for a session that exists.
type Access int

const (
	// AccessProve asks the remote, with the request's credential, before a session joins what was fetched with a credential.
	// A proof is kept for 5 min for the same user, repository and credential, a refusal for 10 s, in the memory of the
	// process.
	AccessProve Access = iota
	// AccessProveAlways asks the remote for each session.
	AccessProveAlways
	// AccessAllowAll asks no remote: each user may join whatever another user's credential has fetched. The log says so once.
	AccessAllowAll
)

// String returns "prove", "prove always" or "allow all".
func (a Access) String() string {
	switch a {
	case AccessProve:
		return "prove"
	case AccessProveAlways:
		return "prove always"
	case AccessAllowAll:
		return "allow all"
	}
	return fmt.Sprintf("Access(%d)", int(a))
}

// Sharing says which sessions share a container: those on one repository that are equal in everything that it names. Sessions
// that differ meet neither in a container nor in a mirror. The zero value: all sessions on one repository share.
type Sharing struct {
	Branch bool   // by SessionRequest.Branch, as it is spelled
	User   bool   // by SessionRequest.UserID
	Tenant string // by the value of the label with this name. A request without it is ErrInvalid. "" = not by a label
	// Key returns the host's own part of the sharing key, of at most 256 bytes of printable UTF-8. It must return the same for
	// the same request in every process. An error, or a panic, is ErrInvalid: such a request gets no session. It also separates
	// snapshots, for which it is asked with UserID, Repository and Labels alone. nil = no such part
	Key func(AccessRequest) (string, error)
	// Private reports whether each session on a repository is to have a container and a mirror of its own, which are removed
	// with it. A panic is ErrInvalid. nil = no repository is private
	Private func(naming.Repository) bool
}

// String describes the Sharing without its functions.
func (s Sharing) String() string {
	parts := []string{"repository"}
	for _, part := range []struct {
		set  bool
		name string
	}{
		{s.Branch, "branch"}, {s.User, "user"}, {s.Tenant != "", "label " + s.Tenant}, {s.Key != nil, "the host's key"},
		{s.Private != nil, "except private repositories"},
	} {
		if part.set {
			parts = append(parts, part.name)
		}
	}
	return "by " + strings.Join(parts, ", ")
}

func (s Sharing) validate(check func(ok bool, field, reason string)) {
	if s.Tenant != "" {
		err := naming.ValidateLabel(s.Tenant, "x")
		check(err == nil, "Sharing.Tenant", fmt.Sprint("must be the name of a label: ", err))
	}
}

// key returns the sharing key of a request.
func (s Sharing) key(r AccessRequest) (naming.Key, error) {
	var scope naming.Scope
	private, err := s.private(r.Repository)
	if err != nil {
		return naming.Key{}, err
	}
	if private {
		scope.Task, scope.User = &r.TaskID, &r.UserID
	}
	if s.Branch {
		scope.Branch = &r.Branch
	}
	if s.User {
		scope.User = &r.UserID
	}
	if s.Tenant != "" {
		tenant := r.Labels[s.Tenant]
		if tenant == "" {
			return naming.Key{}, &FieldError{Field: "SessionRequest.Labels", Reason: fmt.Sprintf("must have %q, by which Config.Sharing separates tenants", s.Tenant)}
		}
		scope.Tenant = &tenant
	}
	if s.Key != nil {
		host, err := s.hostKey(r)
		if err != nil {
			return naming.Key{}, err
		}
		scope.Host = &host
	}
	return naming.Key{Repository: r.Repository, Scope: scope.String()}, nil
}

func (s Sharing) private(r naming.Repository) (private bool, err error) {
	if s.Private == nil {
		return false, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = &FieldError{Field: "Config.Sharing.Private", Reason: fmt.Sprintf("panicked for %s: %v", r, p)}
		}
	}()
	return s.Private(r), nil
}

func (s Sharing) hostKey(r AccessRequest) (key string, err error) {
	bad := func(format string, args ...any) error {
		return &FieldError{Field: "Config.Sharing.Key", Reason: fmt.Sprintf(format, args...)}
	}
	defer func() {
		if p := recover(); p != nil {
			err = bad("panicked for task %q on %s: %v", r.TaskID, r.Repository, p)
		}
	}()
	r.Labels = maps.Clone(r.Labels)
	key, err = s.Key(r)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", bad("has no key for task %q on %s", r.TaskID, r.Repository), err)
	case len(key) > maxUserID || !printable(key):
		return "", bad("must give at most %d bytes of printable UTF-8", maxUserID)
	}
	return key, nil
}

// snapshotScope separates the users who may name each other's snapshots: as the sharing key, but for the branch. Where a container is
// private, each user is alone.
func (s Sharing) snapshotScope(r AccessRequest) (string, error) {
	private, err := s.private(r.Repository)
	if err != nil {
		return "", err
	}
	s.Branch, s.Private, s.User = false, nil, s.User || private
	key, err := s.key(AccessRequest{UserID: r.UserID, Repository: r.Repository, Labels: r.Labels})
	return key.Scope, err
}

// snapshot returns the ID of the snapshot that a request names, and whether it is another user's.
func (c *Config) snapshot(named string, r AccessRequest) (id string, foreign bool, scope string, err error) {
	if named == "" {
		return "", false, "", nil
	}
	bad := func(reason string) (string, bool, string, error) {
		return "", false, "", &FieldError{Field: "SessionRequest.Snapshot", Reason: reason}
	}
	if c.Snapshots == nil {
		return bad("needs a Config.Snapshots")
	}
	if scope, err = c.Sharing.snapshotScope(r); err != nil {
		return "", false, "", err
	}
	owner := snapshot.Owner{Repository: r.Repository, Scope: scope, User: r.UserID}
	switch {
	case snapshot.IsID(named):
		return named, named != owner.ID(snapshot.NameOf(named)), scope, nil
	case !snapshot.CheckName(named):
		return bad(snapshot.NameRule + ", or be an ID")
	}
	return owner.ID(named), false, scope, nil
}

// access returns a request as Config.Authorize and Sharing see it, and what its access is proven for.
func (r SessionRequest) access(remote naming.Remote, cfg *Config) (AccessRequest, access.Subject) {
	s := access.Subject{User: r.UserID, Repository: remote.Repository, Credential: access.Hash(remote.Username, remote.Password)}
	if cfg.Credentials != nil && !remote.HasCredential() {
		s.Credential = access.Asked
	}
	a := AccessRequest{UserID: r.UserID, TaskID: r.TaskID, Repository: remote.Repository, Branch: r.Branch, Labels: r.Labels}
	a.Credential = s.Credential.String()
	return a, s
}

// authorizer is the [session.Access] of a Provider: it asks Config.Authorize.
type authorizer struct {
	ask    func(ctx context.Context, r AccessRequest) error // nil = everybody may
	proofs *access.Cache
}

// Authorize implements [session.Access].
func (a authorizer) Authorize(ctx context.Context, r *session.Request) error {
	if a.ask == nil && r.Foreign {
		return fmt.Errorf("user %q: %w: the snapshot is another user's, and there is no Config.Authorize that admits it", r.UserID, ErrAccessDenied)
	}
	if a.ask == nil {
		return nil
	}
	request := AccessRequest{
		Snapshot: r.Snapshot, Foreign: r.Foreign,
		UserID: r.UserID, TaskID: r.TaskID, Repository: r.Key.Repository, Branch: r.Branch, Labels: maps.Clone(r.Labels),
		Credential: r.Access.Credential.String(),
	}
	err := answered(ctx, "Config.Authorize", func() error { return a.ask(ctx, request) })
	switch {
	case ctx.Err() != nil: // an answer that comes too late says nothing
		return fmt.Errorf("while Config.Authorize was asked: %w", context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("user %q: %w: %w", r.UserID, ErrAccessDenied, err)
	}
	return nil
}

// Forget implements [session.Access].
func (a authorizer) Forget(userID string, repository naming.Repository) {
	a.proofs.Forget(userID, repository)
}

// Purpose is what a credential is wanted for.
type Purpose string

// The purposes.
const (
	PurposeFetch Purpose = "fetch" // to read
	PurposePush  Purpose = "push"  // to write
)

// CredentialRequest is what [Config.Credentials] is asked. It holds no secret.
type CredentialRequest struct {
	// Repository is what git is about to read or write, and URL its remote. In a session, that is what the session says: its own
	// repository, another one on the same host, such as a submodule, or one on a host of Config.CredentialHosts.
	Repository naming.Repository
	URL        string
	// UserID, SessionID, TaskID and Labels are the session's, from its record. All are empty for a container that is kept warm: see
	// Config.Warm.
	UserID, SessionID, TaskID string
	Labels                    map[string]string
	// Purpose is PurposeFetch for the mirror. In a session, it is what the session says, and a task can say PurposePush. So return for
	// either only what the task may do.
	Purpose Purpose
	Mirror  bool // it is for the mirror, which the sessions of a container share, and not for git in the session
	// Rejected says that the remote has refused the last credential: do not return the same from a cache. It is told once.
	Rejected bool
}

// Credential is a user and a password, or a token in place of either, for HTTP. The zero Credential is none.
type Credential struct{ Username, Password string }

// String says whether there is a credential. It does not show it.
func (c Credential) String() string {
	return orchestrator.Credential{Username: c.Username, Password: c.Password}.String()
}

// GoString does not show the secrets.
func (c Credential) GoString() string { return "berth.Credential{…}" }

// LogValue implements slog.LogValuer: it is String.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// credentials returns what asks Config.Credentials. A panic is an error.
func (c *Config) credentials() (all session.Credentials, err error) {
	all.Hosts = c.CredentialHosts
	if keys := c.SSHAgent; keys != nil {
		if all.SSH.Hosts, err = sshkeys.NewHosts(gitremote.KnownHosts + c.KnownHosts); err != nil {
			return all, &FieldError{Field: "Config.KnownHosts", Reason: err.Error()}
		}
		all.SSH.Ask = func(ctx context.Context, a session.CredentialAsk) (sshagent.Agent, error) {
			var got sshagent.Agent
			err := answered(ctx, "Config.SSHAgent", func() (err error) {
				got, err = keys(ctx, requestOf(a))
				return err
			})
			if err != nil {
				return nil, err
			}
			return got, nil
		}
	}
	ask := c.Credentials
	if ask == nil {
		return all, nil
	}
	all.Ask = func(ctx context.Context, a session.CredentialAsk) (username, password string, err error) {
		r := requestOf(a)
		var got Credential
		err = answered(ctx, "Config.Credentials", func() (err error) {
			got, err = ask(ctx, r)
			return err
		})
		if err != nil {
			return "", "", err
		}
		return got.Username, got.Password, nil
	}
	return all, nil
}

func requestOf(a session.CredentialAsk) CredentialRequest {
	r := CredentialRequest{
		Repository: a.Repository, URL: a.URL, UserID: a.User, SessionID: a.Session, TaskID: a.TaskID, Labels: maps.Clone(a.Labels),
		Purpose: PurposeFetch, Mirror: a.Mirror, Rejected: a.Rejected,
	}
	if a.Push {
		r.Purpose = PurposePush
	}
	return r
}

// answers returns what answers the gits of sessions; nil = nothing does.
func answers(p *Provider) func(context.Context, store.Container, agent.Question) agent.Answer {
	if p.cfg.Credentials == nil && p.cfg.SSHAgent == nil {
		return nil
	}
	return func(ctx context.Context, c store.Container, q agent.Question) agent.Answer {
		return session.Gits{Manager: p.sessions}.Answer(ctx, c, q)
	}
}

// answered returns what a function of the host returns, or an error if it panics or calls runtime.Goexit. If ctx ends first, the function
// goes on, and that is the error.
func answered(ctx context.Context, name string, fn func() error) error {
	answer := make(chan error, 1)
	go func() { // ends with fn
		err := fmt.Errorf("%s called runtime.Goexit", name)
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("%s panicked: %v", name, v)
			}
			answer <- err
		}()
		err = fn()
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// checkCredentialHosts returns an error if an item of Config.CredentialHosts is no host of a repository's identity.
func checkCredentialHosts(hosts []string) error {
	for _, host := range hosts {
		r, err := naming.ParseRepository("https://" + host + "/owner/name")
		if err != nil || r.Host != host {
			return fmt.Errorf("%.100q is no host as naming.Repository has it, such as git.example.org or git.example.org:8443", host)
		}
	}
	return nil
}

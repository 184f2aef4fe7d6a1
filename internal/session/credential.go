package session

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Credentials asks the host application for credentials.
type Credentials struct {
	// Ask returns a credential, of which both parts are empty if there is none. It does not panic. nil = the host has no function for it
	Ask   func(ctx context.Context, a CredentialAsk) (username, password string, err error)
	Hosts []string // those for which sessions may ask beside their repository's own
	SSH   SSH
}

// CredentialAsk is what a credential is wanted for.
type CredentialAsk struct {
	Repository             naming.Repository
	URL                    string // holds no credential
	Session, TaskID, User  string // "" = none: a container that is kept warm
	Labels                 map[string]string
	Push, Rejected, Mirror bool
}

// askTime bounds how long the host application may take. An agent gives a question that is not answered to another process a little later.
const askTime = 25 * time.Second

// ask asks within askTime.
func (c Credentials) ask(ctx context.Context, a CredentialAsk) (username, password string, err error) {
	cause := fmt.Errorf("it has not answered within %v", askTime)
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, cause)
	defer cancel()
	if username, password, err = c.Ask(ctx, a); err != nil {
		return "", "", fmt.Errorf("Config.Credentials for %s: %w", a.Repository, err)
	}
	return username, password, nil
}

// source returns what is asked before the fetches of a session, whose request has no credential of its own; nil = nothing is.
func (o *opening) source() *orchestrator.Source {
	own := o.r.Credential
	if o.cfg.Credentials.Ask == nil || own.Username != "" || own.Password != "" {
		return nil
	}
	a := o.cfg.Credentials.about(o.s)
	a.Repository, a.URL, a.Mirror = o.r.Key.Repository, o.r.Remote.URL, true
	return o.cfg.Credentials.Source(a)
}

// Source returns what is asked before fetches into a mirror. It is nil if the host has no credentials, or the remote's transport takes
// none.
func (c Credentials) Source(a CredentialAsk) *orchestrator.Source {
	if c.Ask == nil || !strings.HasPrefix(a.URL, "https://") && !strings.HasPrefix(a.URL, "http://") {
		return nil
	}
	return &orchestrator.Source{Ask: func(ctx context.Context, rejected bool) (string, string, error) {
		a := a
		a.Rejected = rejected
		return c.ask(ctx, a)
	}}
}

// Warm is Source for a container without sessions.
func (c Credentials) Warm(of *store.Container) *orchestrator.Source {
	return c.Source(CredentialAsk{Repository: of.SharingKey.Repository, URL: of.Remote, Mirror: true})
}

func (Credentials) about(s *store.Session) CredentialAsk {
	return CredentialAsk{Session: s.ID, TaskID: s.TaskID, User: s.UserID, Labels: s.Labels}
}

// errOver is the refusal for a session that is not there, or not in that container.
var errOver = errors.New("the session has ended")

// Gits answers the gits of sessions.
type Gits struct{ *Manager }

// Answer answers the git of a session in a container. What the question says was said by the session, or by whatever has taken over its
// container. So the record of the session decides for whom, and for which hosts, the host application is asked.
func (m Gits) Answer(ctx context.Context, c store.Container, q agent.Question) agent.Answer {
	if len(q.SSH) > 0 {
		return m.sign(ctx, c, q)
	}
	a, err := m.question(ctx, c, q)
	var answer agent.Answer
	if err == nil {
		answer.Username, answer.Password, err = m.cfg.Credentials.ask(ctx, a)
	}
	if err == nil && strings.ContainsAny(answer.Username+answer.Password, "\r\n\x00") {
		answer, err = agent.Answer{}, errors.New("Config.Credentials gave a credential with a line break")
	}
	if err != nil {
		return m.refuse(ctx, "a session's git gets no credential", q, err)
	}
	return answer
}

// refuse logs why a session gets nothing, and tells it.
func (m Gits) refuse(ctx context.Context, what string, q agent.Question, err error) agent.Answer {
	if ctx.Err() == nil && !errors.Is(err, errOver) {
		m.cfg.Failures.Report(what, err, "session", q.Session)
	}
	return agent.Answer{Refusal: orchestrator.Clean(err.Error())}
}

// asking returns the session that asks in a container.
func (m Gits) asking(ctx context.Context, c store.Container, q agent.Question) (*store.Session, error) {
	s, err := store.Read[*store.Session](ctx, m.cfg.Store, store.SessionKey(q.Session))
	switch {
	case err != nil:
		return nil, err
	case s == nil || s.Container != c.ID:
		return nil, errOver
	case s.State != store.SessionActive && s.State != store.SessionCreating && !m.cfg.Last.due(s): // SaveWork pushes, and so may OnEnd
		return nil, errOver
	}
	return s, nil
}

// question returns what the host application is asked.
func (m Gits) question(ctx context.Context, c store.Container, q agent.Question) (CredentialAsk, error) {
	s, err := m.asking(ctx, c, q)
	if err != nil {
		return CredentialAsk{}, err
	}
	u, err := url.Parse(q.URL)
	if err != nil || u.User != nil {
		return CredentialAsk{}, errors.New("that is no URL of a repository")
	}
	u.Path, _, _ = strings.Cut(u.Path, "/info/lfs") // where the files of Git LFS are
	u.RawQuery, u.Fragment, u.RawPath = "", "", ""
	a := m.cfg.Credentials.about(s)
	a.Push, a.Rejected = q.Push, q.Rejected
	own := s.SharingKey.Repository
	if !m.cfg.Credentials.mayAsk(u, own, s.Remote) {
		return CredentialAsk{}, fmt.Errorf("%s is not the host of the session's repository, and not in Config.CredentialHosts", u.Host)
	}
	if strings.Trim(u.Path, "/") == "" { // a program that knows the host alone
		a.Repository, a.URL = own, s.Remote
		return a, nil
	}
	remote, err := naming.ParseRemote(u.String())
	if err != nil {
		return CredentialAsk{}, err
	}
	a.Repository, a.URL = remote.Repository, remote.URL
	return a, nil
}

// mayAsk reports whether a session may ask for a URL: one of its repository's server, or of the hosts that the pool names. No credential
// goes over HTTP without TLS, unless the session's own remote is such.
func (c Credentials) mayAsk(u *url.URL, own naming.Repository, remote string) bool {
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
		return host == own.Host || slices.Contains(c.Hosts, host)
	}
	mine, err := url.Parse(remote)
	return err == nil && u.Scheme == "http" && mine.Scheme == "http" && strings.EqualFold(mine.Host, u.Host)
}

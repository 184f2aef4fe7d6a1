package session

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"golang.org/x/crypto/ssh/agent"

	berthagent "github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/sshagent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// SSH asks the host application for the keys of sessions.
type SSH struct {
	Ask   func(ctx context.Context, a CredentialAsk) (agent.Agent, error) // does not panic. nil = the host has no function for it
	Hosts *sshagent.Hosts                                                 // whose keys are known
}

// sign answers the ssh of a session. As for a credential, the record of the session decides for whom and for which servers.
func (m Gits) sign(ctx context.Context, c store.Container, q berthagent.Question) berthagent.Answer {
	answer, err := m.signed(ctx, c, q)
	if err != nil {
		return m.refuse(ctx, "a session's ssh gets no answer", q, err)
	}
	return berthagent.Answer{SSH: answer}
}

func (m Gits) signed(ctx context.Context, c store.Container, q berthagent.Question) ([]byte, error) {
	s, err := m.asking(ctx, c, q)
	if err != nil {
		return nil, err
	}
	creds := m.cfg.Credentials
	if creds.SSH.Ask == nil {
		return nil, fmt.Errorf("there is no Config.SSHAgent")
	}
	if sshagent.Signs(q.SSH) {
		if _, err := creds.SSH.Hosts.Allowed(q.SSH, q.Bind, creds.servers(s)); err != nil {
			return nil, err
		}
	}
	a := creds.about(s)
	a.Repository, a.URL, a.Push = s.SharingKey.Repository, s.Remote, true
	cause := fmt.Errorf("it has not answered within %v", askTime)
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, cause)
	defer cancel()
	keys, err := creds.SSH.Ask(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("Config.SSHAgent for %s: %w", a.Repository, err)
	}
	if keys == nil {
		keys = agent.NewKeyring() // without a key
	}
	return sshagent.Answer(keys, q.SSH)
}

// servers returns the addresses of ssh at which a session may log in.
func (c Credentials) servers(s *store.Session) (all []string) {
	if address, ok := sshAddress(s.Remote); ok {
		all = append(all, address)
	}
	for _, host := range append([]string{s.SharingKey.Repository.Host}, c.Hosts...) {
		name, _, _ := strings.Cut(host, ":")
		all = append(all, net.JoinHostPort(name, "22"))
	}
	return all
}

// sshAddress returns the server of a remote, and whether ssh is its transport.
func sshAddress(remote string) (address string, ssh bool) {
	if !strings.Contains(remote, "://") { // user@host:path
		if _, err := naming.ParseRemote(remote); err != nil {
			return "", false
		}
		host, _, _ := strings.Cut(remote, ":")
		return net.JoinHostPort(host[strings.LastIndexByte(host, '@')+1:], "22"), true
	}
	u, err := url.Parse(remote)
	if err != nil || u.Scheme != "ssh" {
		return "", false
	}
	port := u.Port()
	if port == "" {
		port = "22"
	}
	return net.JoinHostPort(u.Hostname(), port), true
}

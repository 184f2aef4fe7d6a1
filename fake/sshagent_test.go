package fake_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// sshKey returns a key.
func sshKey(t *testing.T) (ssh.Signer, ed25519.PrivateKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, private
}

// logIn does with the agent of a session what ssh does at a server, and returns the key with which it has logged in.
func logIn(ctx context.Context, c fake.Command, server ssh.Signer) (string, error) {
	conn, err := c.SSHAgent(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	const session = "an exchange hash"
	signature, err := server.Sign(rand.Reader, []byte(session))
	if err != nil {
		return "", err
	}
	client := sshagent.NewClient(conn)
	if _, err := client.Extension("session-bind@openssh.com", ssh.Marshal(struct {
		Host, ID, Signature []byte
		Forwarded           bool
	}{server.PublicKey().Marshal(), []byte(session), ssh.Marshal(signature), false})); err != nil {
		return "", err
	}
	keys, err := client.List()
	if err != nil {
		return "", err
	}
	if len(keys) == 0 {
		return "no key", nil
	}
	data := append(binary.BigEndian.AppendUint32(nil, uint32(len(session))), session+"\x32"...)
	signed, err := client.Sign(keys[0], data)
	if err != nil {
		return "", err
	}
	return keys[0].Comment, keys[0].Verify(data, signed)
}

// TestSSHAgent: each session has the keys that Config.SSHAgent gives for it, for its own server and those of CredentialHosts.
func TestSSHAgent(t *testing.T) {
	servers := make(map[string]ssh.Signer)
	lines := ""
	for _, name := range []string{"git.example", "more.example", "evil.example"} {
		servers[name], _ = sshKey(t)
		lines += knownhosts.Line([]string{name}, servers[name].PublicKey()) + "\n"
	}
	servers["unknown.example"], _ = sshKey(t)
	_, private := sshKey(t)
	var asked []berth.CredentialRequest
	synctest.Test(t, func(t *testing.T) {
		p, err := fake.NewProvider(fake.Options{
			Config: berth.Config{
				KnownHosts: lines, CredentialHosts: []string{"more.example"},
				SSHAgent: func(_ context.Context, r berth.CredentialRequest) (sshagent.Agent, error) {
					asked = append(asked, r)
					ring := sshagent.NewKeyring()
					switch r.UserID {
					case "eve":
						return nil, errors.New("not for eve")
					case "nil":
						return nil, nil
					}
					return ring, ring.Add(sshagent.AddedKey{PrivateKey: private, Comment: "key of " + r.UserID})
				},
			},
			Run: func(ctx context.Context, c fake.Command) int {
				key, err := logIn(ctx, c, servers[c.Args[1]])
				if err != nil {
					fmt.Fprintln(c.Stdout, "refused")
					return 1
				}
				fmt.Fprintln(c.Stdout, key)
				return 0
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for _, c := range []struct{ user, server, want string }{
			{"ann", "git.example", "key of ann"}, {"bob", "git.example", "key of bob"}, {"ann", "more.example", "key of ann"},
			{"ann", "evil.example", "refused"}, {"ann", "unknown.example", "refused"}, {"eve", "git.example", "refused"}, {"nil", "git.example", "no key"},
		} {
			s, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: c.user, UserID: c.user, Repository: "git@git.example:acme/app.git"})
			if err != nil {
				t.Fatal(err)
			}
			asked = nil
			out, _ := s.Command(t.Context(), "ssh", c.server).Output()
			if string(out) != c.want+"\n" {
				t.Errorf("%+v: %q", c, out)
			}
			for _, r := range asked {
				if r.UserID != c.user || r.SessionID != s.ID() || r.TaskID != c.user || r.Repository.String() != "git.example/acme/app" || r.Purpose != berth.PurposePush || r.Mirror {
					t.Errorf("%+v: asked %+v", c, r)
				}
			}
		}
	})
}

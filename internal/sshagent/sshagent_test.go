package sshagent_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/berth-go/berth/internal/sshagent"
)

func newKey(t *testing.T) (ssh.Signer, ed25519.PrivateKey) {
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

// bind is what OpenSSH sends when a server has signed a session.
func bind(t *testing.T, server, signs ssh.Signer, session string, forwarded bool) []byte {
	t.Helper()
	signature, err := signs.Sign(rand.Reader, []byte(session))
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{27}, ssh.Marshal(struct {
		Name                string
		Host, ID, Signature []byte
		Forwarded           bool
	}{"session-bind@openssh.com", server.PublicKey().Marshal(), []byte(session), ssh.Marshal(signature), forwarded})...)
}

// sign is a request for a signature.
func sign(key ssh.PublicKey, data string) []byte {
	return append([]byte{13}, ssh.Marshal(struct {
		Key, Data []byte
		Flags     uint32
	}{key.Marshal(), []byte(data), 0})...)
}

// login is what is signed for a login.
func login(session string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(session)))) + session + "\x32" + "the rest"
}

// TestAllowed: a key signs for logins at known servers of the session, and nothing else.
func TestAllowed(t *testing.T) {
	server, _ := newKey(t)
	other, _ := newKey(t)
	user, _ := newKey(t)
	hosts, err := sshagent.NewHosts(knownhosts.Line([]string{"git.example:2222"}, server.PublicKey()) + "\n" + knownhosts.Line([]string{"other.example"}, other.PublicKey()) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	mine := []string{"git.example:2222", "git.example:22"}
	good, request := bind(t, server, server, "session", false), sign(user.PublicKey(), login("session"))
	for name, c := range map[string]struct {
		request, bind []byte
		addresses     []string
		want          string
	}{
		"its server":                    {request, good, mine, ""},
		"no binding":                    {request, nil, mine, "OpenSSH 8.9"},
		"half of a binding":             {request, good[:len(good)/2], mine, "for which server"},
		"a server that forwards":        {request, bind(t, server, server, "session", true), mine, "for which server"},
		"another server":                {request, bind(t, other, other, "session", false), mine, "none of its key"},
		"another server that lies":      {request, bind(t, server, other, "session", false), mine, "signature"},
		"its server at another port":    {request, good, []string{"git.example:22"}, "none of its key"},
		"another session of the server": {sign(user.PublicKey(), login("other")), good, mine, "no login"},
		"a signature of a commit":       {sign(user.PublicKey(), "SSHSIG..."), good, mine, "no login"},
		"another message":               {sign(user.PublicKey(), strings.Replace(login("session"), "\x32", "\x33", 1)), good, mine, "no login"},
		"no request for a signature":    {[]byte{11}, good, mine, "no login"},
	} {
		at, err := hosts.Allowed(c.request, c.bind, c.addresses)
		if c.want == "" && (err != nil || at != mine[0]) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %q, %v", name, at, err)
		}
	}
}

// TestAnswer: an agent answers one request.
func TestAnswer(t *testing.T) {
	signer, private := newKey(t)
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	list, err := sshagent.Answer(ring, []byte{11})
	if err != nil || len(list) == 0 || list[0] != 12 || !bytes.Contains(list, signer.PublicKey().Marshal()) {
		t.Errorf("%q, %v", list, err)
	}
	signed, err := sshagent.Answer(ring, sign(signer.PublicKey(), "data"))
	if err != nil || len(signed) == 0 || signed[0] != 14 {
		t.Errorf("%q, %v", signed, err)
	}
	stranger, _ := newKey(t)
	if refused, err := sshagent.Answer(ring, sign(stranger.PublicKey(), "data")); err != nil || len(refused) != 1 || refused[0] != 5 {
		t.Errorf("%q, %v", refused, err)
	}
	for _, request := range [][]byte{nil, {19}, {22, 0, 0, 0, 1, 'x'}, {27, 0, 0, 0, 0}} { // remove all keys, lock, an extension
		if answer, err := sshagent.Answer(ring, request); err == nil {
			t.Errorf("the request %v has the answer %v", request, answer)
		}
	}
	if keys, err := ring.List(); err != nil || len(keys) != 1 {
		t.Errorf("the keys are %v, %v", keys, err)
	}
}

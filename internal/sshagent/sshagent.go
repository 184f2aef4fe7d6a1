// Package sshagent answers what the ssh of a session asks its agent for, with the keys of the host application, which do not leave it.
package sshagent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Messages of the protocols.
const (
	listRequest     = 11
	signRequest     = 13
	userauthRequest = 50 // RFC 4252
)

// Signs reports whether a request wants a signature.
func Signs(request []byte) bool { return len(request) > 0 && request[0] == signRequest }

// Answer lets an agent answer one request: for a list of keys, or for a signature. No other reaches it, whatever a container sends, for
// it could add and remove keys.
func Answer(keys agent.Agent, request []byte) ([]byte, error) {
	if len(request) == 0 || request[0] != listRequest && request[0] != signRequest {
		return nil, errors.New("the request is neither for a list of keys nor for a signature")
	}
	out := new(bytes.Buffer)
	in := bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...))
	err := agent.ServeAgent(keys, struct {
		io.Reader
		io.Writer
	}{in, out})
	if !errors.Is(err, io.EOF) { // the end of the one request
		return nil, err
	}
	if out.Len() < 5 {
		return nil, errors.New("the agent has not answered")
	}
	return out.Bytes()[4:], nil
}

// Hosts are the host keys of servers.
type Hosts struct{ check ssh.HostKeyCallback }

// NewHosts reads lines of known_hosts. The package that reads them wants a file.
func NewHosts(lines string) (*Hosts, error) {
	f, err := os.CreateTemp("", "berth-known-hosts-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(lines)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	check, err := knownhosts.New(f.Name())
	if err != nil {
		return nil, err
	}
	return &Hosts{check}, nil
}

// bound is OpenSSH's message session-bind@openssh.com, after its type.
type bound struct {
	Name      string
	HostKey   []byte
	SessionID []byte
	Signature []byte
	Forwarded bool
}

// Allowed returns the first of some addresses, "host:port", of whose server a signature is wanted: for a login there, and nothing else. bind
// says with which server ssh has a connection, and its server has signed that. The error says why there is none.
func (h *Hosts) Allowed(request, bind []byte, addresses []string) (string, error) {
	var b bound
	if len(bind) == 0 {
		return "", errors.New("ssh does not say for which server it wants a signature: it needs OpenSSH 8.9 or later in the image")
	}
	if ssh.Unmarshal(bind[1:], &b) != nil || b.Forwarded {
		return "", errors.New("ssh does not say for which server it wants a signature")
	}
	key, err := ssh.ParsePublicKey(b.HostKey)
	if err != nil {
		return "", fmt.Errorf("the server's host key: %w", err)
	}
	signature := new(ssh.Signature)
	if err := ssh.Unmarshal(b.Signature, signature); err != nil {
		return "", fmt.Errorf("the server's signature: %w", err)
	}
	if err := key.Verify(b.SessionID, signature); err != nil {
		return "", fmt.Errorf("the server's signature: %w", err)
	}
	if !logsIn(request, b.SessionID) {
		return "", errors.New("what is to be signed is no login at the server")
	}
	for _, address := range addresses {
		if h.check(address, &net.TCPAddr{IP: net.IPv4zero}, key) == nil {
			return address, nil
		}
	}
	return "", fmt.Errorf("the server has the host key %s, and Config.KnownHosts names none of its key among %q", ssh.FingerprintSHA256(key), addresses)
}

// logsIn reports whether a request is for the signature of a login in a session of ssh.
func logsIn(request, session []byte) bool {
	var r struct {
		Key, Data []byte
		Flags     uint32
	}
	if !Signs(request) || ssh.Unmarshal(request[1:], &r) != nil || len(session) == 0 {
		return false
	}
	begins := append(binary.BigEndian.AppendUint32(nil, uint32(len(session))), session...)
	return bytes.HasPrefix(r.Data, append(begins, userauthRequest))
}

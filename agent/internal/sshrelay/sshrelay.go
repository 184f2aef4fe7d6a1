// Package sshrelay relays the protocol of ssh-agent: the keys are with a program elsewhere, which answers each request by itself.
package sshrelay

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
)

// MaxMessage bounds a request and an answer in bytes.
const MaxMessage = 8 << 10

// The messages of the protocol that a relay knows: see draft-miller-ssh-agent.
const (
	failure   = 5
	success   = 6
	list      = 11 // which keys are there
	sign      = 13
	extension = 27
)

// bindName is the extension by which ssh says with which server the connection is that it is about to sign for: OpenSSH's PROTOCOL.agent.
const bindName = "session-bind@openssh.com"

// Relay answers what comes on a connection until it ends, and returns nil then. ask gets the lists of keys and the signatures that the
// client wants, and for a signature the message by which the client has bound the connection to a server; nil = it has not. Its error, or an
// answer that is too long, is a refusal for the client. Other requests are refused: a client adds and removes no keys.
func Relay(ctx context.Context, conn io.ReadWriter, ask func(ctx context.Context, request, bind []byte) ([]byte, error)) error {
	var bind []byte
	binds := 0
	for {
		request, err := read(conn)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer := []byte{failure}
		switch request[0] {
		case extension:
			if named(request[1:], bindName) {
				bind, answer = request, []byte{success}
				if binds++; binds > 1 { // it is forwarded to another server
					bind, answer = nil, []byte{failure}
				}
			}
		case list, sign:
			if got, err := ask(ctx, request, bind); err == nil && len(got) > 0 && len(got) <= MaxMessage {
				answer = got
			}
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...)); err != nil {
			return err
		}
	}
}

// read reads a request.
func read(conn io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > MaxMessage {
		return nil, errors.New("the request has no length that is allowed")
	}
	request := make([]byte, n)
	_, err := io.ReadFull(conn, request)
	return request, err
}

// named reports whether a message begins with a name.
func named(message []byte, name string) bool {
	if len(message) < 4 {
		return false
	}
	n := binary.BigEndian.Uint32(message)
	return int64(len(message)) >= 4+int64(n) && string(message[4:4+n]) == name
}

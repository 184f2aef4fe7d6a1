package warden

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/berth-go/berth/agent/internal/room"
)

// The socket has packets, each with one message in JSON. An answer follows each request.

const (
	maxMessage = 128 << 10 // bytes; the IDs of all rooms that a container may have fit in
	maxAnswer  = 16 << 10
)

// Operations.
const (
	opOpen      = "open"
	opTake      = "take"
	opClose     = "close"
	opIsolation = "isolation"
	opSync      = "sync"
	opNetwork   = "network"
	opPin       = "pin"
	opSockets   = "sockets"
	opQuota     = "quota"
	opUnlinked  = "unlinked"
	opTry       = "try"
)

type request struct {
	Op   string     `json:"op"`
	Room *room.Spec `json:"room,omitempty"` // to open, or to take
	ID   string     `json:"id,omitempty"`   // of the room to close, or whose sockets to count
	IDs  []string   `json:"ids,omitempty"`  // of the rooms that are still wanted

	Network *network `json:"network,omitempty"` // the policy of the walls to put up
	Pin     *pins    `json:"pin,omitempty"`
	Quota   *quota   `json:"quota,omitempty"`
	Held    *held    `json:"held,omitempty"`
	Dir     string   `json:"dir,omitempty"` // to try a checkout in
}

type answer struct {
	Error     string          `json:"error,omitempty"`
	PID       int             `json:"pid,omitempty"`
	Sockets   int             `json:"sockets,omitempty"`
	Isolation *room.Isolation `json:"isolation,omitempty"`
	Note      string          `json:"note,omitempty"`    // why a cache is not shared
	Bounded   bool            `json:"bounded,omitempty"` // the file system bounds the directory
	Bytes     int64           `json:"bytes,omitempty"`   // of files that were removed

	NoCheckout bool `json:"no_checkout,omitempty"` // the error is room.ErrNoCheckout
}

// send sends a message, with a descriptor unless it is negative.
func send(conn *net.UnixConn, message any, fd int) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(text) > maxMessage {
		return fmt.Errorf("a message of %d bytes is too long", len(text))
	}
	var rights []byte
	if fd >= 0 {
		rights = syscall.UnixRights(fd)
	}
	_, _, err = conn.WriteMsgUnix(text, rights, nil)
	return err
}

// receive receives a message and its control messages, for which there is as much space as given. The rest of a longer message is lost,
// and descriptors among it are closed.
func receive(conn *net.UnixConn, buffer []byte, space int, message any) ([]syscall.SocketControlMessage, error) {
	control := make([]byte, space)
	n, k, flags, _, err := conn.ReadMsgUnix(buffer, control)
	if err != nil {
		return nil, err
	}
	controls, err := syscall.ParseSocketControlMessage(control[:k])
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return controls, net.ErrClosed
	}
	if flags&syscall.MSG_TRUNC != 0 {
		return controls, errors.New("a message is too long")
	}
	return controls, json.Unmarshal(buffer[:n], message)
}

// passed returns the descriptors among control messages.
func passed(controls []syscall.SocketControlMessage) (fds []int) {
	for _, c := range controls {
		if some, err := syscall.ParseUnixRights(&c); err == nil {
			fds = append(fds, some...)
		}
	}
	return fds
}

// sender returns the process that sent a message, by its control messages.
func sender(controls []syscall.SocketControlMessage) (pid int, ok bool) {
	for _, c := range controls {
		if cred, err := syscall.ParseUnixCredentials(&c); err == nil {
			return int(cred.Pid), true
		}
	}
	return 0, false
}

// sendFiles sends a message over a socket that is no connection of package net.
func sendFiles(fd int, message any, files ...int) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		rights = syscall.UnixRights(files...)
	}
	for {
		err := syscall.Sendmsg(fd, text, rights, nil, syscall.MSG_NOSIGNAL)
		if err != syscall.EINTR {
			return os.NewSyscallError("sendmsg", err)
		}
	}
}

// receiveFiles receives a message and its descriptors. n is 0 at the end.
func receiveFiles(fd int, buffer []byte, most int) (n int, files []int, err error) {
	control := make([]byte, syscall.CmsgSpace(4*most))
	var k int
	for {
		n, k, _, _, err = syscall.Recvmsg(fd, buffer, control, syscall.MSG_CMSG_CLOEXEC)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return 0, nil, os.NewSyscallError("recvmsg", err)
	}
	controls, err := syscall.ParseSocketControlMessage(control[:k])
	return n, passed(controls), err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		syscall.Close(fd)
	}
}

package credential

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/berth-go/berth/agent/internal/sshrelay"
	"github.com/berth-go/berth/agent/internal/wire"
)

// SSHSocket is the name of the socket in a session's directory by which ssh asks for signatures: it is SSH_AUTH_SOCK.
const SSHSocket = ".ssh-agent"

// sshTime bounds how long a client of the socket may be silent. A program may ask much later than it has connected.
const sshTime = 10 * time.Minute

// OpenSSH is Open for the socket of ssh.
func OpenSSH(desk *Desk, dir, session string, uid int) (*Office, error) {
	return open(&Office{desk: desk, session: session, uid: uid, answer: (*Office).relay}, dir, SSHSocket)
}

// relay answers one client of ssh.
func (o *Office) relay(ctx context.Context, conn *net.UnixConn) {
	sshrelay.Relay(ctx, patient{conn}, func(ctx context.Context, request, bind []byte) ([]byte, error) {
		answer, err := o.desk.Ask(ctx, wire.Question{Session: o.session, SSH: request, Bind: bind})
		if err == nil && answer.Refusal != "" {
			err = errors.New(answer.Refusal)
		}
		return answer.SSH, err
	})
}

// patient is a connection that is given up when it is silent for too long.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	p.SetDeadline(time.Now().Add(sshTime))
	return p.Conn.Read(b)
}

var _ io.ReadWriter = patient{}

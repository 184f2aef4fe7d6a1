package agent

import (
	"context"
	"io"

	"github.com/berth-go/berth/agent/internal/sshrelay"
)

// RelaySSH answers a client of ssh-agent's protocol on a connection until it ends, as the socket of a session that was opened with SSH
// does: ask gets Question.SSH and Question.Bind, and returns Answer.SSH. An error of ask is a refusal.
func RelaySSH(ctx context.Context, conn io.ReadWriter, ask func(ctx context.Context, request, bind []byte) ([]byte, error)) error {
	return sshrelay.Relay(ctx, conn, ask)
}

package fake

import (
	"context"
	"errors"
	"net"

	"github.com/berth-go/berth/agent"
)

var errNoSSHAgent = errors.New("fake: the session has no agent of ssh: its pool has no Config.SSHAgent")

// sshAgent is Command.SSHAgent.
func (p *process) sshAgent(ctx context.Context) (net.Conn, error) {
	n := p.inside.container.node
	n.mu.Lock()
	has := p.session.ssh
	n.mu.Unlock()
	switch {
	case !has:
		return nil, errNoSSHAgent
	case isClosed(p.ended):
		return nil, errOver
	}
	ours, theirs := net.Pipe()
	running := &n.engine.running
	running.Go(func() {
		defer ours.Close()
		agent.RelaySSH(ctx, ours, func(ctx context.Context, request, bind []byte) ([]byte, error) {
			answer, err := p.credential(ctx, agent.Question{SSH: request, Bind: bind})
			if err == nil && answer.Refusal != "" {
				err = errors.New(answer.Refusal)
			}
			return answer.SSH, err
		})
	})
	running.Go(func() {
		defer ours.Close()
		select {
		case <-ctx.Done():
		case <-p.ended:
		}
	})
	return theirs, nil
}

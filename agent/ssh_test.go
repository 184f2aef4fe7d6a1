package agent_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
	"github.com/berth-go/berth/internal/test/need"

	answerer "github.com/berth-go/berth/internal/sshagent"
)

// serveSSH lets a server with a new host key serve each connection. It returns its address, and its line of known_hosts.
func serveSSH(t *testing.T, cfg *ssh.ServerConfig, serve func(net.Conn)) (address, known string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn) // ends with the connection
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return l.Addr().String(), "[127.0.0.1]:" + port + " " + string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

// gitOverSSH is a server of ssh that serves a repository to who has a key. It returns its port, and its line of known_hosts.
func gitOverSSH(t *testing.T, dir string, user ssh.PublicKey) (port, known string) {
	t.Helper()
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(user.Marshal()) {
			return nil, errors.New("no")
		}
		return nil, nil
	}}
	address, known := serveSSH(t, cfg, func(conn net.Conn) { serveGit(conn, cfg, dir) })
	_, port, _ = net.SplitHostPort(address)
	return port, known
}

// serveGit serves one connection.
func serveGit(conn net.Conn, cfg *ssh.ServerConfig, dir string) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			program, _, _ := strings.Cut(string(r.Payload[min(4, len(r.Payload)):]), " ")
			if r.Type != "exec" || program != "git-upload-pack" && program != "git-receive-pack" {
				r.Reply(false, nil)
				continue
			}
			r.Reply(true, nil)
			cmd := exec.Command(program, dir)
			cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
			in, err := cmd.StdinPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err == nil {
				go func() { io.Copy(in, channel); in.Close() }()
				cmd.Wait()
			}
			channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(max(cmd.ProcessState.ExitCode(), 0))}))
			channel.Close()
		}
	}
}

// TestGitOverSSHWithTheKeysOfAnother: the git of a session fetches and pushes with a key that stays with the client of the agent, and only at
// the servers that this allows.
func TestGitOverSSHWithTheKeysOfAnother(t *testing.T) {
	need.Program(t, "ssh")
	accounts := `for n in 10001 10002; do echo "a$n:x:$n:$n::/:/bin/sh" >> passwd; done`
	r := startOn(t, agenttest.StartAfter(t, mirrorAccount+accounts))
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	ring := sshagent.NewKeyring()
	if err := ring.Add(sshagent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(r.git.Git("small", "rev-parse", "--absolute-git-dir"))
	port, known := gitOverSSH(t, dir, signer.PublicKey())
	elsewhere, alsoKnown := gitOverSSH(t, dir, signer.PublicKey())
	hosts, err := answerer.NewHosts(known + alsoKnown)
	if err != nil {
		t.Fatal(err)
	}
	var signed, refused atomic.Int64
	answering(t, r.Client, func(q agent.Question) agent.Answer {
		if answerer.Signs(q.SSH) {
			if _, err := hosts.Allowed(q.SSH, q.Bind, []string{"127.0.0.1:" + port}); err != nil {
				refused.Add(1)
				return agent.Answer{Refusal: err.Error()}
			}
			signed.Add(1)
		}
		a, err := answerer.Answer(ring, q.SSH)
		if err != nil {
			return agent.Answer{Refusal: err.Error()}
		}
		return agent.Answer{SSH: a}
	})
	for id, uid := range map[string]int{"s": 10001, "neighbour": 10002} {
		if _, err := r.Open(testContext(t), agent.Session{
			ID: id, UID: uid, Dir: "small", URL: r.url, Branch: "main", Proven: true, SSH: id == "s", KnownHosts: known + alsoKnown,
			Author: agent.Author{Name: "Ann", Email: "ann@example.com"},
		}); err != nil {
			t.Fatal(err)
		}
	}
	url := func(port string) string { return fmt.Sprintf("ssh://git@127.0.0.1:%s/small", port) }
	out, exit := r.run(t, "s", "set -e; exec 2>&1; git fetch -q "+url(port)+" main; git commit -q --allow-empty -m one; git push -q "+url(port)+" HEAD:refs/heads/over-ssh; git rev-parse HEAD")
	if exit.Code != 0 || strings.TrimSpace(r.git.Git("small", "rev-parse", "over-ssh")) != strings.TrimSpace(out) || signed.Load() != 2 {
		t.Fatalf("%+v, %d signatures, %s", exit, signed.Load(), out)
	}
	if out, exit := r.run(t, "s", "git ls-remote "+url(elsewhere)+" 2>&1"); exit.Code == 0 || refused.Load() != 1 || signed.Load() != 2 {
		t.Errorf("a server that is not the session's: %+v, %s", exit, out)
	}
	socket, _ := r.run(t, "s", "echo $SSH_AUTH_SOCK")
	socket = strings.TrimSpace(socket)
	if out, exit := r.run(t, "neighbour", "test -z \"$SSH_AUTH_SOCK\" && SSH_AUTH_SOCK="+socket+" ssh-add -L 2>&1"); exit.Code != 2 {
		t.Errorf("a neighbour: %+v, %s", exit, out)
	}
	if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("unix", socket); err == nil {
		conn.Close()
		t.Error("the socket answers after the session's end")
	}
}

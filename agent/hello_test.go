package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

// greeter answers as an agent of some version would, and returns a dialer.
func greeter(t *testing.T, hello string) func(context.Context) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/hello":
			fmt.Fprint(w, hello)
		case "/v1/watch":
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/v1/sessions":
			fmt.Fprint(w, "{}")
		default:
			http.NotFound(w, r)
		}
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
}

func TestAnAgentThatSpeaksAnotherProtocolIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ hello, says string }{
		"too old": {`{"protocol":0,"oldest":0,"build":"old","boot":"b"}`, `the agent (build "old") speaks protocol 0 to 0, this program 1 to`},
		"too new": {`{"protocol":99,"oldest":98,"build":"new","boot":"b"}`, `the agent (build "new") speaks protocol 98 to 99, this program 1 to`},
	} {
		t.Run(name, func(t *testing.T) {
			client := agent.NewClient(greeter(t, c.hello), agent.ClientOptions{})
			defer client.Close()
			_, err := client.Sessions(testContext(t))
			if !errors.Is(err, agent.ErrIncompatible) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if <-client.Done(); !errors.Is(client.Err(), agent.ErrIncompatible) {
				t.Errorf("Err: %v", client.Err())
			}
		})
	}
}

func TestAnAgentThatIsNewerAndStillUnderstandsIsUsed(t *testing.T) {
	client := agent.NewClient(greeter(t, `{"protocol":99,"oldest":1,"boot":"b","more":[1]}`), agent.ClientOptions{})
	defer client.Close()
	if _, err := client.Sessions(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestSIGTERMEndsTheAgentPromptly(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	if _, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sh", "-c", "trap '' TERM; while :; do sleep 1; done"}}); err != nil {
		t.Fatal(err)
	}
	hang, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts: git waits for an answer
	if err != nil {
		t.Fatal(err)
	}
	defer hang.Close()
	go r.Fetch(testContext(t), agent.Fetch{URL: "http://" + hang.Addr().String()}, nil) // ends with the agent
	time.Sleep(200 * time.Millisecond)
	pid := r.agent.Pid()
	ended := r.agent.Ended()
	begun := time.Now()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		t.Logf("took %v", time.Since(begun))
	case <-time.After(3 * time.Second):
		syscall.Kill(pid, syscall.SIGKILL)
		t.Error("it goes on")
	}
}

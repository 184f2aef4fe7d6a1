package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
			if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/v1/calls/") {
				http.NotFound(w, r)
				return
			}
			answer := `{"done":true,"checkout":{"workdir":"/sessions/s/x","branch":"main","commit":"c"}}`
			if body, _ := io.ReadAll(r.Body); bytes.Contains(body, []byte(`"op":"close"`)) {
				answer = `{"done":true}`
			} else if bytes.Contains(body, []byte(`"op":"fetch"`)) {
				answer = `{"done":true,"mirror":{"cold":false,"fetched":true,"size":1,"free":1}}`
			}
			fmt.Fprintln(w, answer)
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

// TestAnAgentThatCannotCopyObjectsSaysSo: an older one would give a checkout that borrows, and not tell.
func TestAnAgentThatCannotCopyObjectsSaysSo(t *testing.T) {
	client := agent.NewClient(greeter(t, `{"protocol":1,"oldest":1,"boot":"b"}`), agent.ClientOptions{})
	defer client.Close()
	s := agent.Session{ID: "s", UID: 10001, Dir: "x", URL: "http://host.xz/o/r", Proven: true}
	if co, err := client.Open(testContext(t), s); err != nil || co.Branch != "main" {
		t.Errorf("%+v, %v", co, err)
	}
	s.SelfContained = true
	if co, err := client.Open(testContext(t), s); !errors.Is(err, agent.ErrIncompatible) || !strings.Contains(err.Error(), "self-contained") {
		t.Errorf("%+v, %v", co, err)
	}
}

// TestAnAgentThatCannotAskOrPopulateSaysSo: an older one would give a session without what it was asked for.
func TestAnAgentThatCannotAskOrPopulateSaysSo(t *testing.T) {
	client := agent.NewClient(greeter(t, `{"protocol":1,"oldest":1,"boot":"b"}`), agent.ClientOptions{})
	defer client.Close()
	for what, s := range map[string]agent.Session{
		"credentials": {Credentials: true}, "submodules": {Submodules: true}, "files of Git LFS": {LFS: true},
	} {
		s.ID, s.UID, s.Dir, s.URL, s.Proven = "s", 10001, "x", "http://host.xz/o/r", true
		if co, err := client.Open(testContext(t), s); !errors.Is(err, agent.ErrIncompatible) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %+v, %v", what, co, err)
		}
	}
}

// TestAnAgentThatCannotProveAccessSaysSo: an older one opens a private mirror to everybody.
func TestAnAgentThatCannotProveAccessSaysSo(t *testing.T) {
	client := agent.NewClient(greeter(t, `{"protocol":1,"oldest":1,"boot":"b"}`), agent.ClientOptions{})
	defer client.Close()
	s := agent.Session{ID: "s", UID: 10001, Dir: "x", URL: "http://host.xz/o/r"}
	if co, err := client.Open(testContext(t), s); !errors.Is(err, errors.ErrUnsupported) || co != (agent.Checkout{}) {
		t.Errorf("Open: %+v, %v", co, err)
	}
	f := agent.Fetch{URL: s.URL}
	if m, err := client.Fetch(testContext(t), f, nil); err != nil || m.Private || m.Proven {
		t.Errorf("a Fetch that wants no proof: %+v, %v", m, err)
	}
	f.Prove = true
	if m, err := client.Fetch(testContext(t), f, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Fetch: %+v, %v", m, err)
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
	case <-time.After(patience / 4):
		syscall.Kill(pid, syscall.SIGKILL)
		t.Error("it goes on")
	}
}

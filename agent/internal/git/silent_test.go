package git

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/internal/test/need"
)

// TestARemoteThatSaysNothing takes a connection and never writes: no speed limit of curl's holds in a handshake, and
// none at all for git's own protocol.
func TestARemoteThatSaysNothing(t *testing.T) {
	need.Root(t)
	answerTimeout = 3 * time.Second
	t.Cleanup(func() { answerTimeout = AnswerTimeout })
	table, stop := proc.NewTable(), make(chan struct{})
	reaped := make(chan struct{})
	go func() {
		table.Run(stop, nil)
		close(reaped)
	}()
	t.Cleanup(func() {
		close(stop)
		<-reaped
	})

	for n, name := range []string{"https", "a proxy", "git"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			address := l.Addr().String()
			job := Job{
				Op: "ls-remote", UID: 58001 + n, Dir: "/", Path: os.Getenv("PATH"),
				Env: []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=/", "GIT_TERMINAL_PROMPT=0"},
			}
			url := map[string]string{"https": "https://" + address + "/x", "a proxy": "https://host.invalid/x", "git": "git://" + address + "/x"}[name]
			if name == "a proxy" {
				job.Env = append(job.Env, "https_proxy=http://"+address)
			}
			job.URL, job.Args = url, []string{"ls-remote", url}
			begun := time.Now()
			_, err = Run(t.Context(), table, job)
			failed, ok := errors.AsType[*Error](err)
			if took := time.Since(begun); !ok || !strings.Contains(failed.Message, "the remote does not answer") || took < answerTimeout || took > 3*time.Minute {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
}

// TestSilent looks at connections of this process.
func TestSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	bytes := func() (most uint64) {
		t.Helper()
		all, err := established(2) // AF_INET
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if r.uid == uint32(os.Getuid()) {
				most = max(most, r.bytes)
			}
		}
		return most
	}
	const size = 1 << 20 // other connections of the uid may be there, but hardly one that has received just so much
	before := bytes()
	go theirs.Write(make([]byte, size))
	for rest := make([]byte, size); len(rest) > 0; {
		n, err := ours.Read(rest)
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if after := bytes(); after < size || after < before {
		t.Errorf("the most that a connection has received is %d, and was %d", after, before)
	}
	if silent(os.Getuid()) {
		t.Error("a connection that has received something is silent")
	}
	if silent(57999) {
		t.Error("a uid without connections is silent")
	}
}

func TestParseConnection(t *testing.T) {
	message := func(attributes ...byte) []byte {
		m := make([]byte, diagMessageSize)
		m[diagMessageUID] = 7
		return append(m, attributes...)
	}
	info := append([]byte{4 + 136, 0, inetDiagInfo, 0}, make([]byte, 136)...)
	info[4+infoBytesReceived] = 9
	for name, c := range map[string]struct {
		data []byte
		want received
		ok   bool
	}{
		"of this kernel":          {message(info...), received{7, 9}, true},
		"after another attribute": {message(append([]byte{5, 0, 8, 0, 1, 0, 0, 0}, info...)...), received{7, 9}, true},
		"of an old kernel":        {message(append([]byte{4 + 104, 0, inetDiagInfo, 0}, make([]byte, 104)...)...), received{}, false},
		"cut":                     {message(info[:50]...), received{}, false},
		"without attributes":      {message(), received{}, false},
		"too short":               {message()[:20], received{}, false},
		"of no length":            {message(0, 0, 0, 0), received{}, false},
	} {
		if got, ok := parseConnection(c.data); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
}

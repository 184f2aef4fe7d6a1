package agent_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// failing puts a server before another, which fails the first requests.
func failing(t *testing.T, behind http.Handler, times int64, fail http.HandlerFunc) (url string, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if requests.Add(1) <= times {
			fail(w, req)
			return
		}
		behind.ServeHTTP(w, req)
	}))
	t.Cleanup(front.Close)
	return front.URL, requests
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "try again", code) }
}

// reset ends a connection without an answer.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// cutShort ends it in the middle of one.
func cutShort(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Length", "1000")
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	fmt.Fprint(w, "001e# service=git-upload-pack\n0000")
	w.(http.Flusher).Flush()
	reset(w, req)
}

func TestAFailureThatPassesIsTriedAgain(t *testing.T) {
	for name, fail := range map[string]http.HandlerFunc{
		"429": status(429), "500": status(500), "502": status(502), "503": status(503), "504": status(504), "reset": reset, "cut short": cutShort,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agenttest.Need(t)
			git := agenttest.NewGitServer(t)
			path := strings.TrimPrefix(git.Repo("small", map[string]string{"f": "f"}), git.URL)
			url, requests := failing(t, git.Config.Handler, 1, fail)
			a := agenttest.Start(t)
			c := a.Client(agent.ClientOptions{})
			var told atomic.Int64
			fetch := func() {
				var all sync.WaitGroup
				for range 6 {
					all.Go(func() {
						_, err := c.Fetch(testContext(t), agent.Fetch{URL: url + path}, func(p agent.Progress) {
							if strings.Contains(p.Phase, "trying again") {
								told.Add(1)
							}
						})
						if err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
			}
			fetch()
			if told.Load() == 0 {
				t.Error("nobody was told")
			}
			requests.Store(0) // and with a mirror that is there
			fetch()
		})
	}
}

func TestAFailureThatStaysIsNotTriedAgain(t *testing.T) {
	agenttest.Need(t)
	for _, code := range []int{400, 403, 404, 501} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			url, requests := failing(t, nil, 1<<60, status(code))
			a := agenttest.Start(t)
			if _, err := a.Client(agent.ClientOptions{}).Fetch(testContext(t), agent.Fetch{URL: url + "/x.git"}, nil); err == nil {
				t.Error("it succeeded")
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestARemoteThatDropsConnections answers no SYN: its queue of connections is full.
func TestARemoteThatDropsConnections(t *testing.T) {
	t.Parallel()
	a := agenttest.StartAlone(t)
	var address string
	var err error
	if failed := a.InNetwork(func() { address, err = fullQueue(t) }); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	begun := time.Now()
	_, err = a.Client(agent.ClientOptions{}).Fetch(testContext(t), agent.Fetch{URL: "http://" + address + "/x.git"}, nil)
	if took := time.Since(begun); err == nil || !strings.Contains(err.Error(), "takes no connection") || took < 25*time.Second || took > time.Minute {
		t.Errorf("after %v: %v", took, err)
	}
}

// fullQueue listens on the loopback interface, accepts nothing, and makes connections until the kernel answers no more. It
// makes all sockets on the calling thread.
func fullQueue(t *testing.T) (address string, err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { syscall.Close(fd) })
	loopback := [4]byte{127, 0, 0, 1}
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: loopback}), syscall.Listen(fd, 0)); err != nil {
		return "", err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return "", err
	}
	port := name.(*syscall.SockaddrInet4).Port
	for full := false; !full; {
		conn, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		t.Cleanup(func() { syscall.Close(conn) })
		if err := syscall.SetsockoptTimeval(conn, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &syscall.Timeval{Usec: 200_000}); err != nil {
			return "", err // it bounds connect, too
		}
		full = syscall.Connect(conn, &syscall.SockaddrInet4{Addr: loopback, Port: port}) != nil
	}
	return fmt.Sprintf("127.0.0.1:%d", port), nil
}

package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Socket is the name of the socket in a session's directory.
const Socket = ".credentials"

// request is what the helper sends, and reply what it gets. Both are JSON.
type request struct {
	URL      string `json:"url"`
	Push     bool   `json:"push,omitempty"`
	Rejected bool   `json:"rejected,omitempty"` // the remote has refused the last answer
	Reject   bool   `json:"reject,omitempty"`   // nothing is asked: the remote has refused the last answer for the URL
}

type reply struct {
	wire.Answer
	Failed bool `json:"failed,omitempty"` // Refusal says why there is no answer
}

// An Office answers the helpers of one session.
type Office struct {
	desk     *Desk
	session  string
	uid      int
	told     func(wire.Answer) // is called with each answer before the helper has it
	listener *net.UnixListener
	answer   func(o *Office, ctx context.Context, conn *net.UnixConn) // to one client
	ctx      context.Context
	stop     context.CancelFunc
	visits   chan struct{} // those under way
	running  sync.WaitGroup

	mu       sync.Mutex          // protects what follows
	rejected map[string]struct{} // URLs whose last answer the remote has refused
}

// Open makes the socket of a session in its directory, which the session cannot enter yet, and answers until Close. told is called with
// each answer, before the session has it.
func Open(desk *Desk, dir, session string, uid int, told func(wire.Answer)) (*Office, error) {
	return open(&Office{desk: desk, session: session, uid: uid, told: told, answer: (*Office).visit}, dir, Socket)
}

// open makes the socket of an Office, and answers until Close.
func open(o *Office, dir, socket string) (*Office, error) {
	var err error
	if o.listener, err = listen(dir, socket, o.uid); err != nil {
		return nil, fmt.Errorf("the socket for credentials: %w", err)
	}
	o.visits, o.rejected = make(chan struct{}, wire.MostQuestions), make(map[string]struct{})
	o.ctx, o.stop = context.WithCancel(context.Background())
	o.running.Go(o.serve)
	return o, nil
}

// listen makes the socket, which the uid alone may use. The path of the directory may be longer than the address of a socket.
func listen(dir, socket string, uid int) (*net.UnixListener, error) {
	at, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	name := fmt.Sprintf("/proc/self/fd/%d/%s", at.Fd(), socket)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // by then the session may have put another file there
	file := filepath.Join(dir, socket)
	if err := errors.Join(os.Chmod(file, 0o600), os.Lchown(file, uid, uid)); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// Close ends the answers. Those that helpers wait for are not given any more. Close returns when nothing is under way. nil has nothing
// to close.
func (o *Office) Close() {
	if o == nil {
		return
	}
	o.stop()
	o.listener.Close()
	o.running.Wait()
}

func (o *Office) serve() {
	for {
		conn, err := o.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-o.ctx.Done():
				return
			}
		}
		select {
		case o.visits <- struct{}{}:
			o.running.Go(func() {
				defer func() { <-o.visits }()
				o.admit(conn)
			})
		default: // a session that asks so much gets nothing
			conn.Close()
		}
	}
}

// visitTime bounds how long a helper may take to say what it wants, and to take the answer.
const visitTime = 10 * time.Second

// admit answers a client of the session's uid.
func (o *Office) admit(conn *net.UnixConn) {
	defer conn.Close()
	defer context.AfterFunc(o.ctx, func() { conn.Close() })()
	if peer(conn) == o.uid {
		o.answer(o, o.ctx, conn)
	}
}

// visit answers one helper.
func (o *Office) visit(ctx context.Context, conn *net.UnixConn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn.SetDeadline(time.Now().Add(visitTime))
	var r request
	if json.NewDecoder(io.LimitReader(conn, wire.MostQuestion)).Decode(&r) != nil || r.URL == "" {
		return
	}
	if r.Reject {
		o.note(r.URL)
		return
	}
	conn.SetDeadline(time.Time{})
	go func() { // ends with the connection: a git that is killed wants no answer
		conn.Read(make([]byte, 1))
		cancel()
	}()
	answer, err := o.desk.Ask(ctx, wire.Question{Session: o.session, URL: r.URL, Push: r.Push, Rejected: o.wasRejected(r.URL) || r.Rejected})
	say := reply{Answer: answer, Failed: err != nil || answer.Refusal != ""}
	if err != nil {
		say.Answer = wire.Answer{Refusal: refusal(err)}
	}
	o.told(say.Answer)
	say.Refusal = gitremote.Line(say.Refusal, 2*gitremote.MaxWords)
	conn.SetDeadline(time.Now().Add(visitTime))
	json.NewEncoder(conn).Encode(say)
}

// maxRejected bounds the URLs of a session whose answers were refused.
const maxRejected = 64

// note keeps that the remote has refused an answer for a URL.
func (o *Office) note(url string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.rejected) >= maxRejected {
		clear(o.rejected)
	}
	o.rejected[strings.Clone(url)] = struct{}{}
}

// wasRejected reports whether the remote has refused the last answer for a URL. It is told once.
func (o *Office) wasRejected(url string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.rejected[url]
	delete(o.rejected, url)
	return ok
}

// peer returns the uid of the other side, or -1 if it is unknown.
func peer(conn *net.UnixConn) int {
	uid := -1
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1
	}
	raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return uid
}

package crash_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/pgstore"
	"github.com/berth-go/berth/store/sqlitestore"
)

// orders are what a worker is told, in its environment.
type orders struct {
	Store   string // the path of a SQLite database, or the URL of one in PostgreSQL
	Pool    string
	Image   string
	URLs    []string // repositories
	Seed    uint64
	Callers int
	Tale    bool          // instead of Callers, one session is created, used and terminated
	Raze    bool          // the pool is destroyed at the end
	Grace   time.Duration // Config.LeftoverGrace

	docker  string // DOCKER_HOST of the worker; "" = as this program's
	program string // the worker; "" = this program
}

const ordersVariable = "BERTH_CRASH_ORDERS"

func TestMain(m *testing.M) {
	text := os.Getenv(ordersVariable)
	if text == "" {
		pgtest.Main(m)
	}
	var o orders
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.work()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

// slots is how many sessions may live at once; most is how many the workers want, so that some have to wait.
const (
	slots = 12
	most  = 15
)

func (o *orders) open(ctx context.Context) (store.Store, error) {
	if strings.HasPrefix(o.Store, "postgres:") {
		return pgstore.Open(ctx, o.Store, pgstore.Options{})
	}
	return sqlitestore.Open(ctx, o.Store)
}

func (o *orders) config(st store.Store, logTo io.Writer) berth.Config {
	return berth.Config{
		Name: o.Pool, Image: o.Image, Store: st, MaxTasksPerInstance: slots, SessionRetention: 20 * time.Second,
		LeftoverGrace: o.Grace, Egress: gittest.Egress(),
		Logger: slog.New(slog.NewTextHandler(logTo, nil)),
	}
}

// report is a line that a worker prints.
type report struct {
	Op      op
	Task    string `json:",omitempty"`
	Session string `json:",omitempty"`
	Brief   bool   `json:",omitempty"` // it expires when it is not used
	Marks   int    `json:",omitempty"` // lines in the file to which every use adds one
	Err     string `json:",omitempty"`
}

type op string

const (
	opUp        op = "up"        // there is a Provider
	opCreated   op = "created"   // CreateSession returned a session
	opRefused   op = "refused"   // or an error
	opUsed      op = "used"      // a command has ended well
	opUseFailed op = "useFailed" // or not
	opEnding    op = "ending"    // TerminateSession is about to be called
	opEnded     op = "ended"     // it returned nil
	opEndFailed op = "endFailed"
	opClosed    op = "closed" // the Provider is closed
)

type worker struct {
	*orders
	*berth.Provider
	mu sync.Mutex // held while a line is printed
}

// work hosts a Provider until standard input ends, and then closes it.
func (o *orders) work() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	w := &worker{orders: o}
	w.Provider, err = berth.NewLocalProvider(ctx, o.config(st, os.Stderr))
	for deadline := time.Now().Add(patience); errors.Is(err, berth.ErrUnavailable) && time.Now().Before(deadline); { // the engine is busy
		w.Provider, err = berth.NewLocalProvider(ctx, o.config(st, os.Stderr))
	}
	if err != nil {
		return err
	}
	w.say(report{Op: opUp})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var callers sync.WaitGroup
	for n := range o.Callers {
		callers.Go(func() { w.call(ctx, n) })
	}
	if o.Tale {
		w.tell(ctx)
	}
	callers.Wait()
	<-ctx.Done()
	if o.Raze {
		if err := w.Destroy(context.Background()); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	w.say(report{Op: opClosed})
	return nil
}

func (w *worker) say(r report) {
	line, _ := json.Marshal(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

// tell does, one after another, all that makes a Provider call its engine.
func (w *worker) tell(ctx context.Context) {
	w.create(ctx, "tale", w.URLs[0], false)
	for s, err := range w.ListSessions(ctx, berth.SessionFilter{}) {
		if err != nil {
			break
		}
		w.use(ctx, s)
		w.end(ctx, s.ID())
	}
}

// call is one caller: it does one thing after another until its context ends.
func (w *worker) call(ctx context.Context, n int) {
	random := rand.New(rand.NewPCG(w.Seed, uint64(n)))
	for i := 0; ctx.Err() == nil; i++ {
		var live []*berth.Session
		for s, err := range w.ListSessions(ctx, berth.SessionFilter{States: []berth.SessionState{berth.SessionActive}}) {
			if err != nil {
				break // of the store, which may be cut off
			}
			live = append(live, s)
		}
		var any *berth.Session
		if len(live) > 0 {
			any = live[random.IntN(len(live))]
		}
		switch dice := random.IntN(100); {
		case any == nil || dice < 40 && len(live) < most:
			task := fmt.Sprintf("t%x-%d-%d", w.Seed, n, i)
			w.create(ctx, task, w.URLs[random.IntN(len(w.URLs))], random.IntN(4) == 0)
		case dice < 50: // again, the same request
			info := any.Info()
			w.create(ctx, info.TaskID, w.urlOf(info), false)
		case dice < 75:
			w.use(ctx, any)
		default:
			w.end(ctx, any.ID())
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(random.IntN(200)) * time.Millisecond):
		}
	}
}

func (w *worker) urlOf(info berth.SessionInfo) string {
	for _, url := range w.URLs {
		if strings.Contains(url, info.Repository.Path) {
			return url
		}
	}
	return ""
}

// briefly is how long a session lives that nobody uses, if it is a brief one.
const briefly = 3 * time.Second

func (w *worker) create(ctx context.Context, task, url string, brief bool) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r := berth.SessionRequest{TaskID: task, UserID: "user-" + task[len(task)-1:], Repository: url}
	if brief {
		r.IdleTimeout = briefly
	}
	s, err := w.CreateSession(ctx, r)
	switch {
	case err == nil:
		w.say(report{Op: opCreated, Task: task, Session: s.ID(), Brief: brief})
	case !errors.Is(err, context.Canceled):
		w.say(report{Op: opRefused, Task: task, Err: err.Error()})
	}
}

// mark adds a line to a file of the session, leaves a process behind, and prints how many lines there are.
const mark = `echo x >> ~/marks
(setsid sh -c 'while :; do sleep 2; done' "beat-$1" >/dev/null 2>&1 </dev/null &)
test -d .git && wc -l < ~/marks`

func (w *worker) use(ctx context.Context, s *berth.Session) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var stderr bytes.Buffer
	cmd := s.Command(ctx, "sh", "-c", mark, "mark", s.ID())
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	marks, bad := strconv.Atoi(strings.TrimSpace(string(out)))
	switch {
	case err == nil && bad == nil:
		w.say(report{Op: opUsed, Session: s.ID(), Marks: marks})
	case ctx.Err() == nil:
		w.say(report{Op: opUseFailed, Session: s.ID(), Err: fmt.Sprintf("%v: %q %q", err, out, &stderr)})
	}
}

func (w *worker) end(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	w.say(report{Op: opEnding, Session: id})
	if err := w.TerminateSession(ctx, id); err != nil {
		w.say(report{Op: opEndFailed, Session: id, Err: err.Error()})
		return
	}
	w.say(report{Op: opEnded, Session: id})
}

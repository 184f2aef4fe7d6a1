package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/berth-go/berth/examples/hosttest"
	"github.com/berth-go/berth/examples/internal/narrate"
)

const (
	startTimeout = 30 * time.Second // until a replica prints its URL
	endTimeout   = 20 * time.Second // for a replica that was told to end
	lookInterval = 100 * time.Millisecond
)

// A replica is a process that serves tasks.
type replica struct {
	name string // A, B or C
	url  string

	cmd   *exec.Cmd
	stdin io.Closer     // its end ends the replica
	ended chan struct{} // closed when the process has ended
	err   error         // of the process; valid when ended is closed
}

// startReplica starts this program again, as a replica, and waits until it answers.
func startReplica(ctx context.Context, name string, cfg config, out *narrate.Printer) (*replica, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := &replica{name: name, cmd: exec.Command(program), ended: make(chan struct{})}
	r.cmd.Env = append(os.Environ(), cfg.environment()...)
	r.cmd.Stderr = &lines{say: func(line string) { out.Say("%s logs: %s", name, line) }}
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	said := make(chan string, 1)
	r.cmd.Stdout = &lines{say: func(line string) {
		select {
		case said <- line:
		default:
		}
	}}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	select {
	case r.url = <-said:
		return r, nil
	case <-r.ended:
		return nil, fmt.Errorf("replica %s ended at once: %w", name, r.err)
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-time.After(startTimeout):
		err = fmt.Errorf("replica %s says nothing", name)
	}
	r.end() // its exit does not matter any more
	return nil, err
}

// kill ends the process at once, by SIGKILL.
func (r *replica) kill() {
	r.cmd.Process.Kill()
	<-r.ended
}

// end tells the process to end.
func (r *replica) end() error {
	select {
	case <-r.ended: // killed, or ended long ago
		return nil
	default:
	}
	r.stdin.Close()
	select {
	case <-r.ended:
	case <-time.After(endTimeout):
		r.kill()
		return fmt.Errorf("replica %s did not end within %v", r.name, endTimeout)
	}
	if r.err != nil {
		return fmt.Errorf("replica %s: %w", r.name, r.err)
	}
	return nil
}

// request sends a request. The caller closes the body of the response, unless there is an error.
func (r *replica) request(ctx context.Context, method, path, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("replica %s: %w", r.name, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return nil, fmt.Errorf("replica %s: %s %s: %s: %s", r.name, method, path, resp.Status, bytes.TrimSpace(text))
}

// call sends a request, and reads the answer into out unless out is nil.
func (r *replica) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	resp, err := r.request(ctx, method, path, string(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// task is what a client asks for, by its ID.
type task struct {
	id string
	hosttest.Task
}

// create creates the session of a task.
func (r *replica) create(ctx context.Context, t task) (p hosttest.Place, err error) {
	err = r.call(ctx, http.MethodPut, "/tasks/"+t.id, t.Task, &p)
	return p, err
}

// tasks returns the tasks of all replicas, by their IDs.
func (r *replica) tasks(ctx context.Context) (map[string]hosttest.Place, error) {
	var places []hosttest.Place
	err := r.call(ctx, http.MethodGet, "/tasks", nil, &places)
	byID := make(map[string]hosttest.Place)
	for _, p := range places {
		byID[p.Task] = p
	}
	return byID, err
}

// start starts a run of a shell script in a task, and returns the run's path. It does not wait for the run.
func (r *replica) start(ctx context.Context, task, script string) (path string, err error) {
	path = "/tasks/" + task + "/runs/" + rand.Text()
	resp, err := r.request(ctx, http.MethodPut, path, script)
	if err != nil {
		return "", err
	}
	return path, resp.Body.Close()
}

// A look is the answer of a replica about a run.
type look struct{ state, code, output string }

// lines is how many lines the run has printed.
func (l look) lines() int { return strings.Count(l.output, "\n") }

// look asks for a run. Any replica may have started it.
func (r *replica) look(ctx context.Context, path string) (look, error) {
	resp, err := r.request(ctx, http.MethodGet, path, "")
	if err != nil {
		return look{}, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	return look{resp.Header.Get(hosttest.StateHeader), resp.Header.Get(hosttest.CodeHeader), string(said)}, err
}

// await asks for a run until it is in the wanted state.
func (r *replica) await(ctx context.Context, path string, wanted func(look) bool) (look, error) {
	for {
		l, err := r.look(ctx, path)
		if err != nil || wanted(l) {
			return l, err
		}
		select {
		case <-time.After(lookInterval):
		case <-ctx.Done():
			return l, context.Cause(ctx)
		}
	}
}

// run runs a shell script in a task to its end, and returns its output.
func (r *replica) run(ctx context.Context, task, script string) (string, error) {
	path, err := r.start(ctx, task, script)
	if err != nil {
		return "", err
	}
	l, err := r.await(ctx, path, func(l look) bool { return l.state != "running" })
	if err == nil && l.code != "0" {
		err = fmt.Errorf("replica %s: %q has %s %s: %s", r.name, script, l.state, l.code, l.output)
	}
	return strings.TrimSpace(l.output), err
}

// lines is a Writer that cuts its input into lines.
type lines struct {
	say  func(line string)
	rest []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		l.say(string(line))
		l.rest = rest
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	startTimeout = 30 * time.Second // until a replica says its URL
	endTimeout   = 20 * time.Second // for a replica that was told to end
)

// A replica is a process that serves tasks.
type replica struct {
	name string // A, B or C
	url  string

	cmd   *exec.Cmd
	stdin io.Closer     // its end ends the replica
	ended chan struct{} // closed when the process has ended
	err   error         // how; to be read when ended is closed
}

// startReplica starts this program once more, as a replica, and waits until it can be asked.
func startReplica(ctx context.Context, name string, cfg config, out *printer) (*replica, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := &replica{name: name, cmd: exec.Command(program), ended: make(chan struct{})}
	r.cmd.Env = append(os.Environ(), cfg.environment()...)
	r.cmd.Stderr = &lines{say: func(line string) { out.say("%s logs: %s", name, line) }}
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
	r.end() // how it ends does not matter any more
	return nil, err
}

// kill ends the process at once: it can do nothing about it.
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

// request sends a request. Whoever got no error closes the response's body.
func (r *replica) request(ctx context.Context, method, path string, in any) (*http.Response, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, bytes.NewReader(body))
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

// call sends a request, and reads its answer into out, unless that is nil.
func (r *replica) call(ctx context.Context, method, path string, in, out any) error {
	resp, err := r.request(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// create gives a task its place.
func (r *replica) create(ctx context.Context, task Task) (p Place, err error) {
	err = r.call(ctx, http.MethodPost, "/tasks", task, &p)
	return p, err
}

// tasks returns the tasks of all replicas, by their IDs.
func (r *replica) tasks(ctx context.Context) (map[string]Place, error) {
	var places []Place
	err := r.call(ctx, http.MethodGet, "/tasks", nil, &places)
	byID := make(map[string]Place)
	for _, p := range places {
		byID[p.Task] = p
	}
	return byID, err
}

// run runs a shell's script in a task, and returns what it printed.
func (r *replica) run(ctx context.Context, task, script string) (string, error) {
	resp, err := r.request(ctx, http.MethodPost, "/tasks/"+task+"/run", []string{"sh", "-c", script})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("replica %s: %w", r.name, err)
	}
	if code := resp.Trailer.Get(exitTrailer); code != "0" {
		return "", fmt.Errorf("replica %s: %q exited with %s %s: %s", r.name, script, code, resp.Trailer.Get(errorTrailer), said)
	}
	return strings.TrimSpace(string(said)), nil
}

// watch runs a shell's script in a task, and returns when it has printed so many lines. gone then gets the error with
// which the rest of its output ended, nil for its proper end.
func (r *replica) watch(ctx context.Context, task, script string, n int) (gone <-chan error, err error) {
	resp, err := r.request(ctx, http.MethodPost, "/tasks/"+task+"/run", []string{"sh", "-c", script})
	if err != nil {
		return nil, err
	}
	output := bufio.NewReader(resp.Body)
	for range n {
		if _, err := output.ReadString('\n'); err != nil {
			resp.Body.Close()
			return nil, fmt.Errorf("replica %s: %w", r.name, err)
		}
	}
	ended := make(chan error, 1)
	go func() {
		defer resp.Body.Close()
		_, err := io.Copy(io.Discard, output)
		ended <- err
	}()
	return ended, nil
}

// lines cuts what is written into lines.
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

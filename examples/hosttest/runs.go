package hosttest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"

	"github.com/berth-go/berth"
)

// runScript is a run: it gives $PROMPT to its arguments, the agent. Its $0 is the run's name, by which find knows it again.
const runScript = `exec 2>&1; printf %s "$PROMPT" | "$@"`

// The headers with which look answers.
const (
	StateHeader = "Run-State"   // running, exited or killed
	CodeHeader  = "Exit-Code"   // of a run that has exited
	FromHeader  = "Output-From" // where the output of the answer begins. It is later than asked if older output was dropped
)

const (
	maxPrompt = 100 << 10 // bytes; the kernel gives a process at most 128 KiB in one string
	maxOutput = 1 << 20   // bytes of one answer
)

var errNoRun = errors.New("no such run")

var runName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// start starts a run, unless there is one of that name. The run is detached: it goes on when the client leaves or this process ends,
// and berth keeps its output and its exit code. If two replicas are asked for the same run at the same moment, both may start it. Where
// that must not be, take a lock in your database.
func (t *Tasks) start(r *http.Request) (any, error) {
	name := r.PathValue("run")
	if !runName.MatchString(name) {
		return nil, &berth.FieldError{Field: "run", Reason: "must be 1 to 64 letters, digits, - and _"}
	}
	prompt, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxPrompt))
	if err != nil {
		return nil, &berth.FieldError{Field: "body", Reason: err.Error()}
	}
	if bytes.IndexByte(prompt, 0) >= 0 {
		return nil, &berth.FieldError{Field: "body", Reason: "must not hold a NUL"}
	}
	s, err := t.find(r)
	if err != nil {
		return nil, err
	}
	t.starting.Lock()
	defer t.starting.Unlock()
	if _, err := findRun(r.Context(), s, name); !errors.Is(err, errNoRun) {
		return nil, err
	}
	cmd := s.Command(r.Context(), "sh", append([]string{"-c", runScript, name}, t.Agent...)...)
	cmd.Env = []string{"PROMPT=" + string(prompt)}
	cmd.Detached = true
	return nil, cmd.Start()
}

// findRun returns the first run of a name. The session knows it, so every replica finds it.
func findRun(ctx context.Context, s *berth.Session, name string) (berth.CommandInfo, error) {
	for c, err := range s.Commands(ctx) {
		if err != nil {
			return c, err
		}
		if c.Detached && len(c.Args) > 3 && c.Args[2] == runScript && c.Args[3] == name {
			return c, nil
		}
	}
	return berth.CommandInfo{}, errNoRun
}

// look sends the state of a run and the output that it has now. When the run is over and the answer has no more output, the client has
// read all of it.
func (t *Tasks) look(w http.ResponseWriter, r *http.Request) {
	run, output, from, err := t.read(r)
	if err != nil {
		Refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set(FromHeader, strconv.FormatInt(from, 10))
	switch {
	case run.EndedAt.IsZero():
		w.Header().Set(StateHeader, "running")
	case run.Signal != 0:
		w.Header().Set(StateHeader, "killed")
	default:
		w.Header().Set(StateHeader, "exited")
		w.Header().Set(CodeHeader, strconv.Itoa(run.ExitCode))
	}
	w.Write(output)
}

func (t *Tasks) read(r *http.Request) (run berth.CommandInfo, output []byte, from int64, err error) {
	from, err = strconv.ParseInt(cmp.Or(r.FormValue("from"), "0"), 10, 64)
	if err != nil || from < 0 {
		return run, nil, 0, &berth.FieldError{Field: "from", Reason: "must be a number of bytes"}
	}
	s, err := t.find(r)
	if err != nil {
		return run, nil, 0, err
	}
	if run, err = findRun(r.Context(), s, r.PathValue("run")); err != nil || from >= run.Stdout {
		return run, nil, from, err
	}
	ctx, stop := context.WithCancel(r.Context())
	defer stop() // ends the copying, and not the run
	cmd, err := s.Attach(ctx, run.ID)
	if err != nil {
		return run, nil, 0, err
	}
	cmd.StdoutFrom = from
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return run, nil, 0, err
	}
	if err := cmd.Start(); err != nil {
		return run, nil, 0, err
	}
	output = make([]byte, max(min(run.Stdout-cmd.StdoutFrom, maxOutput), 0))
	_, err = io.ReadFull(pipe, output) // what was written by now is there
	return run, output, cmd.StdoutFrom, err
}

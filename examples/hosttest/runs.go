package hosttest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/berth-go/berth"
)

// startScript runs its arguments, the agent, on $PROMPT, unless the run $RUN was started before. It keeps the run in files of
// the session, because the process that started it may be gone when a request asks. The link makes sure that only one of two
// requests starts it. The script prints "started" when the run can be found.
const startScript = `exec 2>&1
mkdir -p "$HOME/.runs" && cd "$HOME/.runs" && echo $$ >"$RUN.$$" || exit 1
ln "$RUN.$$" "$RUN.pid" 2>/dev/null || { rm "$RUN.$$"; echo started; exit; }
echo started
exec >"$RUN.output" 2>&1
cd "$OLDPWD"
printf %s "$PROMPT" | "$@"
code=$?
cd "$HOME/.runs" && echo $code >"$RUN.$$" && mv "$RUN.$$" "$RUN.exit"`

// lookScript prints the state of the run $RUN, and then its output from byte $FROM on, at most $LIMIT bytes. A run that has
// neither a process nor an exit code was killed, for example by the kernel for want of memory.
const lookScript = `cd "$HOME/.runs" 2>/dev/null && pid=$(cat "$RUN.pid" 2>/dev/null) || { echo absent; exit; }
if kill -0 "$pid" 2>/dev/null && ! [ -e "$RUN.exit" ]; then echo running
elif [ -e "$RUN.exit" ]; then echo exited "$(cat "$RUN.exit")"
else echo killed; fi
tail -c +$((FROM + 1)) "$RUN.output" 2>/dev/null | head -c "$LIMIT"`

// The headers with which look answers.
const (
	StateHeader = "Run-State" // running, exited or killed
	CodeHeader  = "Exit-Code" // of a run that has exited
)

const (
	maxPrompt = 100 << 10 // bytes; the kernel gives a process at most 128 KiB in one string
	maxOutput = 1 << 20   // bytes of one answer
)

var errNoRun = errors.New("no such run")

var runName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// start starts a run, and answers when the run can be found. No request ends the context of the command, so the run goes on when
// the client leaves or this process ends.
func (t *Tasks) start(r *http.Request) (any, error) {
	if !runName.MatchString(r.PathValue("run")) {
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
	cmd := s.Command(context.WithoutCancel(r.Context()), "sh", append([]string{"-c", startScript, "sh"}, t.Agent...)...)
	cmd.Env = []string{"RUN=" + r.PathValue("run"), "PROMPT=" + string(prompt)}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	started := make(chan error, 1)
	go func() { // ends with the run, or when the Provider is closed, which kills no command
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if line == "started\n" {
			started <- nil
			cmd.Wait()
			return
		}
		go io.Copy(io.Discard, stdout)
		started <- fmt.Errorf("cannot start the run: %q: %w", line, cmp.Or(cmd.Wait(), err, io.ErrUnexpectedEOF))
	}()
	select {
	case err := <-started:
		return nil, err
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

// look sends the state of a run and its output. It asks the session, so every replica can answer. When the run is over and the
// answer has no more output, the client has read all of it.
func (t *Tasks) look(w http.ResponseWriter, r *http.Request) {
	state, output, err := t.read(r)
	if err != nil {
		Refuse(w, err)
		return
	}
	state, code, _ := strings.Cut(state, " ")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set(StateHeader, state)
	if code != "" {
		w.Header().Set(CodeHeader, code)
	}
	w.Write(output)
}

func (t *Tasks) read(r *http.Request) (state string, output []byte, err error) {
	from, err := strconv.ParseInt(cmp.Or(r.FormValue("from"), "0"), 10, 64)
	if err != nil || from < 0 {
		return "", nil, &berth.FieldError{Field: "from", Reason: "must be a number of bytes"}
	}
	if !runName.MatchString(r.PathValue("run")) {
		return "", nil, errNoRun
	}
	s, err := t.find(r)
	if err != nil {
		return "", nil, err
	}
	cmd := s.Command(r.Context(), "sh", "-c", lookScript)
	cmd.Env = []string{"RUN=" + r.PathValue("run"), fmt.Sprint("FROM=", from), fmt.Sprint("LIMIT=", maxOutput)}
	out, err := cmd.Output()
	if err != nil {
		return "", nil, err
	}
	line, output, _ := bytes.Cut(out, []byte("\n"))
	if string(line) == "absent" {
		return "", nil, errNoRun
	}
	return string(line), output, nil
}

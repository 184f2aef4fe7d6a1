// Package gitwork does berth's own work in the repository of a session: what is unsaved, a patch of it, commits and pushes. It runs git
// as a command of the session, in its room and under its uid, so that the git configuration and the hooks of a task concern nobody else.
package gitwork

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/plain"
	"github.com/berth-go/berth/work"
)

// Script is the shell script that does the work. Its arguments are an operation and what that takes: see Args.
//
//go:embed script.sh
var Script string

// The operations.
const (
	OpChanges = "changes" // START COMMITS STASHES: prints what is unsaved
	OpPatch   = "patch"   // START SUBJECT: prints a patch; nothing if there is nothing
	OpCommit  = "commit"  // ALLOW-EMPTY VERIFY PATH...: commits; reads the message, prints the commit
	OpPush    = "push"    // REMOTE BRANCH FORCE VERIFY: prints the commit and the branch
	OpSave    = "save"    // START BRANCH SUBJECT: pushes all to a branch, and prints the commit
	OpUnsave  = "unsave"  // makes of the branch of OpSave what was saved, and prints the branch
	OpApply   = "apply"   // BRANCH: applies the patch that it reads, on that branch
	OpBranch  = "branch"  // NAME: begins a branch
)

// Exit codes of Script, beside git's own.
const (
	ExitNothing    = 95 // there is nothing to do
	ExitIncomplete = 96 // it is done, but for what stderr names
)

// Args returns the command of an operation.
func Args(op string, args ...string) []string {
	return append([]string{"sh", "-c", Script, "berth", op}, args...)
}

// Operation returns the operation of a command, and what it takes. ok is false for other commands.
func Operation(command []string) (op string, args []string, ok bool) {
	if len(command) < 5 || command[0] != "sh" || command[2] != Script {
		return "", nil, false
	}
	return command[4], command[5:], true
}

// A Call is one operation.
type Call struct {
	Args   []string // see Args
	Env    []string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// A Repository is that of a session.
type Repository struct {
	// Start is the commit that the session began with, where no branch of the remote may reach it; "" = one does
	Start string
	// Run runs a command in the session, and returns its exit code. The error says why that is not known, or that the output is
	// not whole. It ends with its context
	Run func(context.Context, Call) (code int, err error)
}

// timeout bounds each operation. It is long: a large repository is read whole, and a push may be slow.
const timeout = 15 * time.Minute

var errTimeout = fmt.Errorf("%w: git has not ended for %v", errs.ErrUnavailable, timeout)

// do runs an operation. name is git's word for it, for the error.
func (r Repository) do(ctx context.Context, name string, c Call) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	words := &tail{max: 4 << 10}
	c.Stderr = words
	code, err := r.Run(ctx, c)
	switch {
	case err != nil:
		return err
	case code == 0:
		return nil
	case code == ExitNothing:
		return work.ErrNoChanges
	case code == ExitIncomplete:
		return fmt.Errorf("%w: %s", work.ErrIncomplete, words)
	}
	failed := &agent.GitError{Op: name, Message: words.String()}
	if code < 0 || failed.Message == "" {
		failed.Message = strings.TrimSpace(fmt.Sprintf("exit status %d: %s", code, failed.Message))
	}
	if name == "push" && rejected.MatchString(failed.Message) {
		return fmt.Errorf("%w: %w", work.ErrRejected, failed)
	}
	return failed
}

// rejected matches git's words for a push that the remote does not take.
var rejected = regexp.MustCompile(`\[(remote )?rejected\]|! \S+\s+\[`)

// push runs an operation that pushes, and prints one line. A token may expire in the middle: git before 2.46 then fails, while later ones
// ask for another. So push runs it again, once, if the server refuses the credential.
func (r Repository) push(ctx context.Context, args []string) (string, error) {
	out, err := r.line(ctx, "push", Call{Args: args})
	if failed, ok := errors.AsType[*agent.GitError](err); ok && refused.MatchString(failed.Message) && ctx.Err() == nil {
		out, err = r.line(ctx, "push", Call{Args: args})
	}
	return out, err
}

// refused matches git's words for a credential that the server does not take.
var refused = regexp.MustCompile(`HTTP 401|error: 401|Authentication failed`)

// line runs an operation that prints one line.
func (r Repository) line(ctx context.Context, name string, c Call) (string, error) {
	out := &head{max: 64 << 10}
	c.Stdout = out
	err := r.do(ctx, name, c)
	return strings.TrimRight(out.b.String(), "\n"), err
}

// head keeps the beginning of what is written.
type head struct {
	max int
	b   bytes.Buffer
	cut bool
}

// Write implements io.Writer.
func (h *head) Write(p []byte) (int, error) {
	keep := p[:min(len(p), h.max-h.b.Len())]
	h.cut = h.cut || len(keep) < len(p)
	h.b.Write(keep)
	return len(p), nil
}

// tail keeps the end of what is written.
type tail struct {
	max int
	b   []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

var userinfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s'"]*@`)

// String returns the words as one line that shows as itself, without the userinfo of URLs: they come from the session and from remotes.
func (t *tail) String() string {
	return plain.Text(userinfo.ReplaceAllString(strings.TrimSpace(strings.ToValidUTF8(string(t.b), "\uFFFD")), "$1"))
}

// yes returns the script's word for a flag.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Commit commits.
func (r Repository) Commit(ctx context.Context, o work.CommitOptions) (string, error) {
	if strings.TrimSpace(o.Message) == "" {
		return "", errors.New("CommitOptions.Message is required")
	}
	c := Call{
		Args:  Args(OpCommit, append([]string{yes(o.AllowEmpty), yes(!o.NoVerify)}, o.Paths...)...),
		Stdin: strings.NewReader(o.Message),
	}
	if o.AuthorName != "" {
		c.Env = append(c.Env, "GIT_AUTHOR_NAME="+o.AuthorName)
	}
	if o.AuthorEmail != "" {
		c.Env = append(c.Env, "GIT_AUTHOR_EMAIL="+o.AuthorEmail)
	}
	return r.line(ctx, "commit", c)
}

// Push pushes HEAD.
func (r Repository) Push(ctx context.Context, o work.PushOptions) (work.Pushed, error) {
	if o.Remote == "" {
		o.Remote = "origin"
	}
	out, err := r.push(ctx, Args(OpPush, o.Remote, o.Branch, yes(o.Force), yes(!o.NoVerify)))
	commit, branch, _ := strings.Cut(out, " ")
	if err != nil {
		return work.Pushed{}, err
	}
	return work.Pushed{Branch: branch, Commit: commit}, nil
}

// Branch begins a branch at HEAD.
func (r Repository) Branch(ctx context.Context, name string) error {
	return r.do(ctx, "checkout", Call{Args: Args(OpBranch, name)})
}

// Patch returns a patch of all that the remote does not have. Its last Read returns ErrIncomplete if a part is left out, and io.EOF
// only if the patch is whole. It is empty if there is nothing.
func (r Repository) Patch(ctx context.Context, subject string, run func(func())) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	read, write := io.Pipe()
	run(func() {
		err := r.do(ctx, "diff", Call{Args: Args(OpPatch, r.Start, subject), Stdout: write})
		write.CloseWithError(err)
		cancel()
	})
	return &patch{read, cancel}
}

type patch struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close implements io.Closer. It ends git.
func (p *patch) Close() error {
	p.cancel()
	return p.PipeReader.Close()
}

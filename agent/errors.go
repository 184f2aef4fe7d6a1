package agent

import (
	"errors"
	"strings"
)

// The errors of a Client. Match them with errors.Is.
var (
	// ErrGone says that the container does not run any more, or that it was restarted and has forgotten its
	// sessions. It is final for this client.
	ErrGone = errors.New("the container is gone")
	// ErrOutOfMemory says that the container does not run any more, and that it had run out of memory. An error that wraps
	// it wraps ErrGone, too.
	ErrOutOfMemory = errors.New("the container ran out of memory")
	// ErrUnknownSession says that the agent has no session of that ID: the session was never opened, or it is closed.
	ErrUnknownSession = errors.New("the container has no such session")
	// ErrOverLimit says that the agent has ended the session, because it used more than it may. The error's words say of what:
	// disk: used 11.0 GiB of 10.0 GiB.
	ErrOverLimit = errors.New("the session used more than it may")
	// ErrBranchNotFound says that the repository has no branch, tag or commit of that name. If no name was given, it says
	// that the remote's default branch does not exist.
	ErrBranchNotFound = errors.New("no such branch, tag or commit")
	// ErrProofRequired says that the mirror is private, and that the session has not proven access.
	ErrProofRequired = errors.New("access to the repository is not proven")
	// ErrNothingKept says that the volume of the mirror has no kept work of that session, or none any more.
	ErrNothingKept = errors.New("nothing is kept of that session on this instance")
	// ErrNotPromoted says that what a session has installed is no layer for others: it has something of its user's, or cannot be packed.
	// The error names the file, or says why.
	ErrNotPromoted = errors.New("what the session has installed is not for others")
	// ErrNoLayer says that the container has no such prepared layer.
	ErrNoLayer = errors.New("no such prepared layer")
	// ErrAddressRefused says that a fetch would have connected to an address that the container's egress policy refuses:
	// a loopback, private, link-local or metadata address, for example. The error says which address it is, and which
	// setting allows it.
	ErrAddressRefused = errors.New("the address is refused")
	// ErrNotExecutable says that a command cannot be started: not found, no permission, no such directory. A failure that
	// may pass, such as a lack of processes, is another error.
	ErrNotExecutable = errors.New("the command cannot be started")
	// ErrUnknownCommand says that the session has no command of that ID that was started Detached, or has forgotten it.
	ErrUnknownCommand = errors.New("the session has no such detached command")
	// ErrIncompatible says that the agent and this program speak no common version of the protocol.
	ErrIncompatible = errors.New("the agent is too old or too new for this program")
	// ErrClosed says that Close was called on the client.
	ErrClosed = errors.New("the connection to the agent was closed")
)

// A CutError says that some of a command's streams were not copied to their ends, although the program has ended and its
// exit is known.
type CutError struct {
	// Each field says why the stream was cut off: ErrGone, ErrClosed, exec.ErrWaitDelay, or the failure of the connection.
	// nil = it was not cut off, or the caller's own Reader or Writer failed before. Stderr is nil if it shares Stdout's
	// pipe.
	Stdin, Stdout, Stderr error
}

func (e *CutError) Error() string {
	var all []string
	for _, s := range []struct {
		name string
		cut  error
	}{{"stdin", e.Stdin}, {"stdout", e.Stdout}, {"stderr", e.Stderr}} {
		if s.cut != nil {
			all = append(all, s.name+" was cut off: "+s.cut.Error())
		}
	}
	return strings.Join(all, "; ")
}

// Unwrap returns why each stream was cut off.
func (e *CutError) Unwrap() []error {
	var all []error
	for _, err := range []error{e.Stdin, e.Stdout, e.Stderr} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// A GitError is a failed git command, with git's own message.
type GitError struct {
	Op string // "fetch", "clone", "checkout"
	// Message is the end of what git printed on stderr, at most 4 KiB, as one line. It holds no credential, no control character
	// and no direction override. Words of the remote are marked: the remote says: "..."
	Message string
}

func (e *GitError) Error() string { return "git " + e.Op + ": " + e.Message }

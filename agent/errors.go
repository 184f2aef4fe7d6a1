package agent

import "errors"

// Errors that an agent's client returns. All work with errors.Is through any wrapping.
var (
	// ErrGone says that the container does not run any more, or that it was restarted and has forgotten its
	// sessions. It is final for this client.
	ErrGone = errors.New("the container is gone")
	// ErrUnknownSession says that the agent has no session of that ID: it was never opened, or is closed.
	ErrUnknownSession = errors.New("the container has no such session")
	// ErrBranchNotFound says that the repository has no branch of that name.
	ErrBranchNotFound = errors.New("no such branch")
	// ErrNotExecutable says that a command cannot be started: not found, no permission, no such directory. What may pass,
	// such as a lack of processes, is another error.
	ErrNotExecutable = errors.New("the command cannot be started")
	// ErrIncompatible says that the agent and this program speak no common version of the protocol.
	ErrIncompatible = errors.New("the agent is too old or too new for this program")
	// ErrClosed says that Close was called on the client.
	ErrClosed = errors.New("the connection to the agent was closed")
)

// A GitError is a git command that failed, with git's own words.
type GitError struct {
	Op      string // "fetch", "clone", "checkout"
	Message string // the end of what git printed on stderr, at most 4 KiB; holds no credential
}

func (e *GitError) Error() string { return "git " + e.Op + ": " + e.Message }

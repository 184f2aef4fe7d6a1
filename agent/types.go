package agent

import (
	"io"
	"time"
)

// Fetch asks for the mirror of the container's repository to be brought up to date.
type Fetch struct {
	URL string // what git is given; holds no credential
	// Username and Password answer git's questions, if it asks. They reach git through its environment,
	// never an argument, and are forgotten when the fetch ends.
	Username, Password string
	// MaxAge makes the fetch a no-op when the last one ended less than MaxAge ago and Branch is there
	// ("" = whatever is there will do). 0 fetches always.
	MaxAge time.Duration
	Branch string
}

// Mirror is the state of the container's mirror after a Fetch.
type Mirror struct {
	// Cold says that the fetch that answered the call cloned the mirror: it was not there, or was broken. It is true
	// for every call that waited for that fetch, not for one only. A call that came when the clone had begun waits for
	// what comes after it.
	Cold    bool
	Fetched bool  // the remote was asked; false when MaxAge made that unnecessary
	Size    int64 // bytes on disk
	Free    int64 // bytes left on the file system that holds it
}

// Progress is one step of a fetch, as git reports it.
type Progress struct {
	Phase   string // e.g. "Receiving objects"
	Percent int    // 0 to 100; -1 when git gives none
}

// Session is what the agent needs to know to make a session's place.
type Session struct {
	ID     string // a file name: letters, digits and '-'
	UID    int    // its uid and its gid, 10000 to 60000
	Dir    string // name of the checkout's directory, e.g. "claude-code"
	URL    string // origin's URL; holds no credential
	Branch string // "" = the remote's default branch
	Author Author
	Env    map[string]string // for each of its commands; kept in the agent's memory only
}

// Author is who commits in a checkout: git's user.name and user.email.
type Author struct{ Name, Email string }

// Checkout is a session's own repository inside the container.
type Checkout struct {
	Workdir string // its absolute path
	Branch  string // the branch that is checked out
	Commit  string // its commit, in hex
}

// Command is one program to run in a session. It may have 65536 files open, or as many as the container's hard limit
// allows if that is less.
type Command struct {
	Session string
	Args    []string // Args[0] is looked up in the session's PATH unless it holds a slash
	Env     []string // "key=value", added to the session's environment; the last of equal keys wins
	Dir     string   // "" = the checkout; a relative path is relative to it

	// The streams are copied until their end with the reader's and the writers' own pace: what is not read
	// is held back in the program, not buffered. nil is /dev/null. Stdout and Stderr that are equal share one
	// pipe, so that the order of their output is kept.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// WaitDelay bounds how long Wait goes on copying after the program has ended, as in os/exec: a child that
	// it left behind may hold the pipes open. 0 = without bound.
	WaitDelay time.Duration
	// Ended, unless nil, is called by Wait when it is known that the program has ended, or that this will never be
	// known, before Wait waits for the streams: a Stdin that would block for ever can be ended there.
	Ended func()
}

// Exit is how a program ended.
type Exit struct {
	Code   int // the exit code; -1 if a signal ended it
	Signal int // the signal's number; 0 if it exited
}

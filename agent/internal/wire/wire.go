// Package wire is what berth's agent and its client say to each other: JSON over HTTP/2 over any byte stream. The
// paths and the meaning of each request stand in this file, next to the types that they carry.
//
// Three rules make a broken connection harmless. Whatever changes something carries an ID that the client made, so
// that sending it again finds what the first try did. Whatever streams is asked for by offset, and asking from an
// offset is what acknowledges all before it. Whatever waits returns after Poll at the latest, empty-handed if need
// be, so that every request has a deadline.
package wire

import "time"

// Protocol is the version that this source speaks, Oldest the oldest one it still understands. A change that an
// older peer would misread raises Protocol; a new path or a new field does not, when its absence has a meaning.
const (
	Protocol = 1
	Oldest   = 1
)

// Limits that both sides know.
const (
	Poll  = 20 * time.Second // how long a request that waits is held at most
	Chunk = 256 << 10        // bytes of a stream in one request or answer
	// Window is how much unacknowledged output the agent holds per stream, while it has the memory. Beyond it, the
	// pipe is not read. Some chunks must fit: one is on its way while the next are read.
	Window = 1 << 20
	// Grace is how long a call goes on with nobody waiting for it: a connection may be on its way back.
	Grace = 20 * time.Second
)

// The paths.
//
//	GET    hello                        Hello
//	GET    watch?manager=ID             ID may be empty: not a manager. Held open; its end is the end of the connection or of the agent
//	GET    state?manager=ID             State, that manager not counted
//	GET    sessions                     map of ID to uid
//	GET    sessions/{id}                Activity; CodeUnknownSession if it is not open or takes no command any more
//	POST   calls/{id}                   Call in, one Line per line out; again with the same id: the same call
//	DELETE calls/{id}                   gives up a call and undoes it; returns when that is done
//	POST   commands/{id}                Start
//	DELETE commands/{id}                forgets a command; its streams are closed, it is not killed.
//	                                    ?kill=1 kills it first, and a start that arrives later is refused; 202 as in kill
//	POST   commands/{id}/kill           kills it and all it started; 202 = not all are dead yet, ask again
//	GET    commands/{id}/exit           Exit; 204 = it runs
//	GET    commands/{id}/stdout?from=N  bytes from N on, at most Chunk; HeaderEnd when they are the last
//	GET    commands/{id}/stderr?from=N  likewise
//	DELETE commands/{id}/stdout         nobody will read it: the program gets SIGPIPE; stderr likewise
//	PUT    commands/{id}/stdin?from=N   bytes from N on, at most Chunk; &end=1 closes it. Answers with Stdin
const Root = "/v1/"

// HeaderEnd is set on the answer that holds the last bytes of a stream.
const HeaderEnd = "Berth-End"

// Hello is the agent's introduction. Boot is different after every start of the agent.
type Hello struct {
	Protocol int    `json:"protocol"`
	Oldest   int    `json:"oldest"`
	Build    string `json:"build"`
	Boot     string `json:"boot"`
}

// State says who else uses the agent.
type State struct {
	Managers int     `json:"managers"` // that hold a watch now
	Idle     float64 `json:"idle"`     // seconds since the last one left; since the start if there was none
}

// Activity says what a session does. A command counts from its start until the agent has seen its end, whether or not
// a client is connected. Idle is 0 while one runs.
type Activity struct {
	Running int     `json:"running"` // commands
	Idle    float64 `json:"idle"`    // seconds since the last one ended; since the session was opened if there was none
}

// The operations of a Call.
const (
	OpFetch = "fetch" // Fetch -> Mirror, with progress
	OpOpen  = "open"  // Session -> Checkout
	OpClose = "close" // Close -> nothing
)

// Call is an operation that may take long. Exactly the field that Op names is set.
type Call struct {
	Op    string   `json:"op"`
	Fetch *Fetch   `json:"fetch,omitempty"`
	Open  *Session `json:"open,omitempty"`
	Close *Close   `json:"close,omitempty"`
}

// Line is a sign of life (empty), a step, or the end of a call: then Done is set.
type Line struct {
	Progress *Progress `json:"progress,omitempty"`
	Done     bool      `json:"done,omitempty"`
	Error    *Error    `json:"error,omitempty"`
	Mirror   *Mirror   `json:"mirror,omitempty"`
	Checkout *Checkout `json:"checkout,omitempty"`
}

// Fetch is agent.Fetch.
type Fetch struct {
	URL      string        `json:"url"`
	Username string        `json:"username,omitempty"`
	Password string        `json:"password,omitempty"`
	MaxAge   time.Duration `json:"max_age,omitempty"`
	Branch   string        `json:"branch,omitempty"`
}

// Mirror is agent.Mirror.
type Mirror struct {
	Cold    bool  `json:"cold"`
	Fetched bool  `json:"fetched"`
	Size    int64 `json:"size"`
	Free    int64 `json:"free"`
}

// Progress is agent.Progress.
type Progress struct {
	Phase   string `json:"phase"`
	Percent int    `json:"percent"`
}

// Session is agent.Session.
type Session struct {
	ID          string   `json:"id"`
	UID         int      `json:"uid"`
	Dir         string   `json:"dir"`
	URL         string   `json:"url"`
	Branch      string   `json:"branch,omitempty"`
	AuthorName  string   `json:"author_name,omitempty"`
	AuthorEmail string   `json:"author_email,omitempty"`
	Env         [][]byte `json:"env,omitempty"` // "key=value"
}

// Checkout is agent.Checkout.
type Checkout struct {
	Workdir string `json:"workdir"`
	Branch  string `json:"branch"`
	Commit  string `json:"commit"`
}

// Close names the session to close, or the uid to clean up after.
type Close struct {
	ID  string `json:"id"`
	UID int    `json:"uid"`
}

// Start describes a command. Arguments are bytes, since JSON's strings cannot hold every argument that a program
// may be given. Stderr is "", "pipe", or "stdout" to share that pipe.
type Start struct {
	Session string   `json:"session"`
	Args    [][]byte `json:"args"`
	Env     [][]byte `json:"env,omitempty"`
	Dir     []byte   `json:"dir,omitempty"`
	Stdin   bool     `json:"stdin,omitempty"`
	Stdout  bool     `json:"stdout,omitempty"`
	Stderr  string   `json:"stderr,omitempty"`
}

// Exit is agent.Exit.
type Exit struct {
	Code   int `json:"code"`
	Signal int `json:"signal"`
}

// Stdin says how far the input was taken. Ended: the end was taken too. Closed: the program reads no more, and no
// more need be sent.
type Stdin struct {
	Accepted int64 `json:"accepted"`
	Ended    bool  `json:"ended"`
	Closed   bool  `json:"closed"`
}

// Error is an error on its way. Code is one of the codes below.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Op      string `json:"op,omitempty"` // of a git error
}

func (e *Error) Error() string { return e.Message }

// The codes of Error.
const (
	CodeUnknownSession = "unknown_session"
	CodeUnknownCommand = "unknown_command"
	CodeBranchNotFound = "branch_not_found"
	CodeNotExecutable  = "not_executable"
	CodeGit            = "git"
	CodeInvalid        = "invalid"
	CodeCanceled       = "canceled"
	CodeInternal       = "internal"
)

// Package wire is the protocol between berth's agent and its client: JSON over HTTP/2 over any byte stream. This file has the
// paths and the meaning of each request, next to the types that they carry.
//
// Three rules make a broken connection harmless:
//
//   - A request that changes something carries an ID that the client made. A repetition finds the result of the first try.
//   - A stream is read and written by offset. A request for bytes from an offset on acknowledges all bytes before it.
//   - A request that waits returns after Poll at the latest, without a result if need be. An answer that goes on gives a sign of life
//     or ends within that time. So every request has a deadline.
package wire

import "time"

// Protocol is the version that this source speaks. Oldest is the oldest version that it understands. A change that an older
// peer would misread raises Protocol. A new path or a new field does not, if its absence has a meaning.
const (
	Protocol = 1
	Oldest   = 1
)

// Limits that both sides know.
const (
	Poll  = 20 * time.Second // the longest time that a request waits
	Chunk = 256 << 10        // bytes of a stream in one request, or in one answer whose length is known
	// Window bounds the unacknowledged output that the agent holds per stream, while it has the memory. When a window is full,
	// the pipe is not read. A window holds some chunks, as one is on its way while the next ones are read.
	Window = 1 << 20
	// Ahead is how far an output that is followed may be ahead of its acknowledgements. The client always has room for so many
	// bytes. So no output fills the windows that all requests of a connection share, however slowly it is read.
	Ahead = 768 << 10
	// AckSize is the size of an acknowledgement in the body of a request: the number of the bytes of the stream that were taken since
	// its beginning, big-endian.
	AckSize = 8
	// Puts is how many requests with bytes of one stdin may be under way.
	Puts = 3
	// Grace is how long a call continues without a client that waits for it: the client may be connecting again.
	Grace = 20 * time.Second
)

// The paths.
//
//	GET    hello                        Hello
//	GET    watch?manager=ID             ID may be empty: not a manager. Held open; its end is the end of the connection or of the agent
//	GET    state?manager=ID             State, that manager not counted
//	GET    isolation                    Isolation
//	GET    sessions                     map of ID to uid
//	GET    ended?seen=N                 list of Ended with a Number above N, as soon as it is not empty; empty after Poll
//	GET    sessions/{id}                Activity; CodeUnknownSession if it is not open or takes no command any more
//	POST   sessions/{id}/renew          the session counts as used now; CodeUnknownSession as above
//	GET    sessions/{id}/commands?after=SEQ
//	                                    list of Command, those that were started after that one (0 = all), at most CommandPage;
//	                                    CodeUnknownSession as above
//	GET    sessions/{id}/ports          list of Port; CodeUnknownSession as above
//	POST   connections/{id}             Dial -> Dialled; again with the same id: the same connection. CodeRefused. Its bytes are those
//	                                    of stdin and stdout of commands/{id}. It is reset when its manager has been away for Grace
//	GET    layers/{name}                LayerHead, a line, then the layer as package layer packs it; a stream that is reset is not whole.
//	                                    CodeNoLayer
//	PUT    layers/{key}?branch=B&bytes=N
//	                                    what GET has answered, in a body that ends without an error only if it is whole -> Prepared: without
//	                                    a Commit if no session of the branch could use it, whose body need not be read then
//	GET    questions?manager=ID&seen=N  list of Question, as soon as it is not empty; empty after Poll. The manager has all that it got
//	                                    up to the Number N
//	PUT    questions/{id}               Answer; one that comes too late is ignored
//	POST   calls/{id}                   Call in, one Line per line out; again with the same id: the same call
//	DELETE calls/{id}                   gives up a call and undoes it; returns when that is done
//	POST   commands/{id}                Start
//	POST   commands/{id}/start          Start with a Terminal or Detached, of which an agent without the path knows nothing
//	GET    sessions/{id}/commands/{c}   Attached; CodeUnknownCommand unless it is one of the session that was started Detached
//	DELETE commands/{id}                forgets a command; its streams are closed, it is not killed.
//	                                    ?kill=1 kills it first, and a start that arrives later is refused; 202 as in kill.
//	                                    A connection is closed when its stdin is written, or at once with ?reset=1
//	POST   commands/{id}/kill           kills it and all it started; 202 = not all are dead yet, ask again
//	POST   commands/{id}/signals/{n}?number=N
//	                                    signals the program, with &group=1 its process group, once for each n; CodeEnded if it has ended
//	PUT    commands/{id}/size           Size of its terminal
//	GET    commands/{id}/exit           Exit; 204 = it runs
//	GET    commands/{id}/stdout?from=N  bytes from N on, at most Chunk; HeaderEnd when they are the last,
//	                                    CodeCut when there were more, which are not held any more
//	GET    commands/{id}/stdout?from=N&follow=1
//	                                    bytes from N on without a limit, at most Ahead more than are acknowledged. The body of the
//	                                    request is acknowledgements, while the answer goes on. Those that say less than earlier ones
//	                                    are ignored. The answer ends with the stream, with the body, or when nothing was sent for
//	                                    Poll, and does not say why: the request without follow tells. Only if Hello.Follow
//	GET    commands/{id}/stderr?from=N  likewise
//	DELETE commands/{id}/stdout         it will not be read: the program gets SIGPIPE; stderr likewise
//	PUT    commands/{id}/stdin?from=N   bytes from N on, at most Chunk; &end=1 closes it. Answers with Stdin. If Hello.Follow,
//	                                    up to Puts may be under way: those whose turn has not come wait. With &writer=W, offsets
//	                                    count from where W has begun; then nothing is taken from those that wrote before
const Root = "/v1/"

// HeaderEnd is set on the answer that holds the last bytes of a stream. HTTP/2 has header names in lower case.
const HeaderEnd = "berth-end"

// Hello is the agent's introduction. Boot is different after every start of the agent. Follow is missing in that of an agent that does
// not know requests with follow and refuses a part of a stdin before the one ahead of it.
type Hello struct {
	Protocol int    `json:"protocol"`
	Oldest   int    `json:"oldest"`
	Build    string `json:"build"`
	Boot     string `json:"boot"`
	Follow   bool   `json:"follow,omitempty"`
	Files    bool   `json:"files,omitempty"` // missing in that of an agent that serves no files
	Work     bool   `json:"work,omitempty"`  // missing in that of an agent that does not know Start.Work
}

// State says whether others use the agent.
type State struct {
	Managers int     `json:"managers"` // that hold a watch now
	Idle     float64 `json:"idle"`     // seconds since the last one left; since the start if there was none
}

// Activity says whether a session has running commands. A command counts from its start until the agent has seen its end,
// whether or not a client is connected. Idle is 0 while a command runs.
type Activity struct {
	Running int     `json:"running"` // commands
	Idle    float64 `json:"idle"`    // seconds since the last one ended, or the session was opened or renewed, whichever is latest
}

// The operations of a Call.
const (
	OpFetch = "fetch" // Fetch -> Mirror, with progress
	OpOpen  = "open"  // Session -> Checkout
	OpClose = "close" // Close -> nothing
	OpFill  = "fill"  // Fill -> Filled, with progress

	OpPrepare = "prepare" // Preparation -> Prepared, with progress

	OpKeep    = "keep"    // KeepWork -> Kept
	OpBring   = "bring"   // BringWork -> Kept
	OpPromote = "promote" // Promotion -> Prepared, with progress; CodeUnknownSession, CodeNotPromoted
)

// Call is an operation that may take long. Exactly the field that Op names is set.
type Call struct {
	Op    string     `json:"op"`
	Fetch *Fetch     `json:"fetch,omitempty"`
	Open  *Session   `json:"open,omitempty"`
	Close *Close     `json:"close,omitempty"`
	Fill  *Fill      `json:"fill,omitempty"`
	Keep  *KeepWork  `json:"keep,omitempty"`
	Bring *BringWork `json:"bring,omitempty"`

	Prepare *Preparation `json:"prepare,omitempty"`
	Promote *Promotion   `json:"promote,omitempty"`
}

// Line is a sign of life (empty), a step, or the end of a call: then Done is set.
type Line struct {
	Progress *Progress `json:"progress,omitempty"`
	Done     bool      `json:"done,omitempty"`
	Error    *Error    `json:"error,omitempty"`
	Mirror   *Mirror   `json:"mirror,omitempty"`
	Checkout *Checkout `json:"checkout,omitempty"`
	Filled   *Filled   `json:"filled,omitempty"`
	Prepared *Prepared `json:"prepared,omitempty"`
	Kept     *Kept     `json:"kept,omitempty"`
}

// Fetch is agent.Fetch.
type Fetch struct {
	URL      string        `json:"url"`
	Username string        `json:"username,omitempty"`
	Password string        `json:"password,omitempty"`
	MaxAge   time.Duration `json:"max_age,omitempty"`
	Branch   string        `json:"branch,omitempty"`
	Env      [][]byte      `json:"env,omitempty"` // "key=value", in order of the keys
	// KnownHosts: an agent that does not know the field trusts each host at first sight.
	KnownHosts string `json:"known_hosts,omitempty"`
	// Prove: an agent that does not know the field leaves Mirror.Checked out.
	Prove bool `json:"prove,omitempty"`
}

// Variables returns Env as strings.
func (f Fetch) Variables() []string {
	env := make([]string, len(f.Env))
	for i, kv := range f.Env {
		env[i] = string(kv)
	}
	return env
}

// Mirror is agent.Mirror.
type Mirror struct {
	Cold    bool  `json:"cold"`
	Fetched bool  `json:"fetched"`
	Size    int64 `json:"size"`
	Free    int64 `json:"free"`
	// Checked is missing in the answer of an agent that does not know Fetch.Prove.
	Checked bool `json:"checked,omitempty"`
	Private bool `json:"private,omitempty"`
	Proven  bool `json:"proven,omitempty"`
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
	// SelfContained: an agent that does not know the field makes a checkout that borrows, and leaves Checkout's field out.
	SelfContained bool `json:"self_contained,omitempty"`
	// Unproven is the opposite of agent.Session's Proven: clients of older versions prove nothing. An agent that does not know
	// the field leaves Checkout.Checked out.
	Unproven bool `json:"unproven,omitempty"`
	// Caches: an agent that does not know the field shares none.
	Caches []SharedDir `json:"caches,omitempty"`
	// Prepare: an agent that does not know the field uses no prepared layer.
	Prepare *Prepare `json:"prepare,omitempty"`
	// Credentials: an agent that does not know the field makes no helper for git, and leaves Checkout's field out.
	Credentials bool `json:"credentials,omitempty"`
	// SSH: an agent that does not know the field makes no socket for ssh, and leaves Checkout's field out.
	SSH bool `json:"ssh,omitempty"`
	// KnownHosts: an agent that does not know the field leaves ssh as the image has it.
	KnownHosts string `json:"known_hosts,omitempty"`
	// Submodules and LFS: an agent that does not know the fields checks neither out, and leaves Checkout's Populated out.
	Submodules bool `json:"submodules,omitempty"`
	LFS        bool `json:"lfs,omitempty"`
}

// Checkout is agent.Checkout.
type Checkout struct {
	Workdir string `json:"workdir"`
	Branch  string `json:"branch"`
	Commit  string `json:"commit"`
	// SelfContained is missing in the answer of an agent that does not know the field.
	SelfContained bool `json:"self_contained,omitempty"`
	// Checked is missing in the answer of an agent that does not know Session.Unproven.
	Checked bool `json:"checked,omitempty"`
	// Prepared is missing in the answer of an agent that does not know Session.Prepare.
	Prepared string `json:"prepared,omitempty"`
	// Credentials is missing in the answer of an agent that does not know Session.Credentials.
	Credentials bool `json:"credentials,omitempty"`
	// SSH is missing in the answer of an agent that does not know Session.SSH.
	SSH bool `json:"ssh,omitempty"`
	// Populated is missing in the answer of an agent that does not know Session.Submodules and LFS.
	Populated bool `json:"populated,omitempty"`
}

// Close names the session to close, or the uid to clean up after.
type Close struct {
	ID  string `json:"id"`
	UID int    `json:"uid"`
}

// Start describes a command. Arguments are bytes, since a program may be given arguments that JSON's strings cannot hold.
// Stderr is "", "pipe", or "stdout" to share that pipe.
type Start struct {
	Session string   `json:"session"`
	Args    [][]byte `json:"args"`
	Env     [][]byte `json:"env,omitempty"`
	Dir     []byte   `json:"dir,omitempty"`
	Stdin   bool     `json:"stdin,omitempty"`
	Stdout  bool     `json:"stdout,omitempty"`
	Stderr  string   `json:"stderr,omitempty"`
	// Files starts the program that serves the session's files in place of Args: see package filewire. It is no command: it keeps no
	// session in use and is not listed. What is written to it counts as a use. Only if Hello.Files
	Files bool `json:"files,omitempty"`
	// Hidden: the command is not listed. An agent of an older version lists it.
	Hidden bool `json:"hidden,omitempty"`
	// Work starts the program that packs or unpacks the session's work: "pack" or "unpack". It is no command either. Only if
	// Hello.Work
	Work string `json:"work,omitempty"`
	// Terminal: the streams are a terminal of that size. Its output is stdout, and Stderr is "".
	Terminal *Size `json:"terminal,omitempty"`
	// Detached: the end of each output is kept, Keep bytes (0 = wire.Keep), and read by any number of clients. It holds nothing back.
	// Until the session ends, the command is only forgotten when history is, or by DELETE.
	Detached bool  `json:"detached,omitempty"`
	Keep     int64 `json:"keep,omitempty"`
}

// Helper reports whether it starts one of the agent's own programs, which is no command.
func (s Start) Helper() bool { return s.Files || s.Work != "" }

// Attached is what is kept of a command's output. A stream that is not copied has no Span.
type Attached struct {
	Terminal bool  `json:"terminal,omitempty"`
	Stdin    bool  `json:"stdin,omitempty"`
	Stdout   *Span `json:"stdout,omitempty"`
	Stderr   *Span `json:"stderr,omitempty"`
}

// Span has the offset of the first byte that is kept, and that of the next one that will come.
type Span struct {
	First int64 `json:"first"`
	Next  int64 `json:"next"`
}

// Size is agent.Size.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Exit is agent.Exit.
type Exit struct {
	Code        int    `json:"code"`
	Signal      int    `json:"signal"`
	OutOfMemory bool   `json:"out_of_memory,omitempty"`
	Reason      string `json:"reason,omitempty"`
	OverLimit   string `json:"over_limit,omitempty"`
}

// Ended is agent.EndedSession. Number is 0 from an agent that drops none; then it follows from the place in the list.
type Ended struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
	Number int    `json:"number,omitempty"`
}

// Begin returns the offset at which a reader begins that wants to begin at from, which counts from Next if it is negative, and how
// many bytes are missing before it.
func (s Span) Begin(from int64) (at, missing int64) {
	if from < 0 {
		return max(s.First, s.Next+from), 0
	}
	at = min(max(s.First, from), s.Next)
	return at, max(0, at-from)
}

// Stdin says how much of the input was taken. Ended says that its end was taken too. Closed says that the program reads no
// more, so no more need be sent.
type Stdin struct {
	Accepted int64 `json:"accepted"`
	Ended    bool  `json:"ended"`
	Closed   bool  `json:"closed"`
}

// Error is an error that the agent reports. Code is one of the codes below.
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
	CodeOverLimit      = "over_limit" // the agent has ended the session, for the reason in the message
	CodeBranchNotFound = "branch_not_found"
	CodeNotExecutable  = "not_executable"
	CodeEnded          = "ended"   // the program has ended
	CodeRefused        = "refused" // nothing of the session listens there
	CodeProofRequired  = "proof_required"
	CodeNothingKept    = "nothing_kept"
	CodeNotPromoted    = "not_promoted" // for the reason in the message
	CodeNoLayer        = "no_layer"
	CodeAddressRefused = "address_refused"
	CodeGit            = "git"
	CodeCut            = "cut" // a stream has ended before all of it was given out
	CodeInvalid        = "invalid"
	CodeCanceled       = "canceled"
	CodeInternal       = "internal"
)

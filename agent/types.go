package agent

import (
	"bufio"
	"io"
	"time"

	"github.com/berth-go/berth/agent/internal/work"
)

// Fetch is a request to update the mirror of the container's repository.
type Fetch struct {
	URL string // passed to git; holds no credential
	// Username and Password are the answers if git asks for a credential. They reach git through its environment, never
	// through an argument. The agent forgets them when the fetch ends.
	Username, Password string
	// MaxAge makes the fetch do nothing if the last one ended less than MaxAge ago and the mirror has Branch. With an empty
	// Branch, any mirror is enough. 0 fetches always.
	MaxAge time.Duration
	// Branch is the branch, tag or commit that a session will ask for: see Session.Branch. A commit that is given by its full
	// ID is fetched even if no branch and no tag reaches it.
	Branch string
	// Env is added to the part of the image's environment that a fetch gets, and wins over it. It is for a proxy or a file of
	// certificates. The agent keeps it in memory for as long as the fetch takes. Of git's own variables, those about TLS and
	// proxies have an effect. HOME, PATH and the variables of ssh and XDG have none. An agent of an older version ignores
	// Env.
	Env map[string]string
	// KnownHosts are host keys for ssh, in the form of known_hosts, beside gitremote.KnownHosts. If it is empty, other hosts are trusted
	// at first sight. Otherwise the fetch from any other host fails. An agent of an older version ignores KnownHosts.
	KnownHosts string
	// Prove makes the agent prove, if the mirror is private, that the remote admits Username and Password: it asks the remote,
	// unless the fetch has read it with them. Without a credential, the remote must admit everybody. If the remote refuses,
	// Fetch fails with its refusal.
	Prove bool
}

// Mirror is the state of the container's mirror after a Fetch.
type Mirror struct {
	// Cold says that the fetch that answered the call cloned the mirror, because there was none or it was broken. Cold is
	// true for every call that waited for that fetch. A call that comes after the clone has begun waits for the fetch that
	// follows it.
	Cold    bool
	Fetched bool  // the remote was asked; false if MaxAge made that unnecessary
	Size    int64 // bytes on disk
	Free    int64 // free bytes on the file system that holds it
	// Private says that a credential was needed to fetch something in the mirror, or may have been.
	Private bool
	// Proven says that the mirror is private, and that the remote was read with the credential of this very Fetch.
	Proven bool
}

// Progress is one step of a fetch, as git reports it.
type Progress struct {
	Phase   string // e.g. "Receiving objects"
	Percent int    // 0 to 100; -1 when git gives none
}

// Session describes a session to the agent that opens it.
type Session struct {
	ID  string // a file name: letters, digits and '-'
	UID int    // its uid and its gid, 10000 to 60000
	Dir string // name of the checkout's directory, e.g. "claude-code"
	URL string // origin's URL; holds no credential
	// Branch is checked out. As for git clone --branch, it is a branch, or else a tag. It may also be the full name of either
	// (refs/heads/x, refs/tags/x), origin/x, or the ID of a commit; 7 digits are enough if the mirror has the commit. HEAD is
	// detached after the checkout of a tag or a commit. "" = the branch that the remote's HEAD points to.
	Branch string
	Author Author
	// SelfContained copies the mirror's objects into the checkout. Otherwise the checkout borrows them.
	SelfContained bool
	Env           map[string]string // of each of its commands; kept in the agent's memory only
	// Proven says that the session has proven access to the repository: see Fetch.Prove. Otherwise Open refuses if the mirror is
	// private, and while the session is open, the mirror does not become private: a Fetch that needs its credential fails.
	Proven bool
	// Submodules and LFS check out submodules, with theirs, and the files of Git LFS. Git runs as the session's commands do: under its
	// uid, in its room, with its Env and its egress, and over the transport of URL and https alone.
	Submodules, LFS bool
	// Credentials makes the session's gits ask for credentials: see Client.Questions.
	Credentials bool
	// SSH gives the session an agent of ssh, whose socket SSH_AUTH_SOCK names: its requests are Questions, too.
	SSH bool
	// KnownHosts are host keys for the session's git over ssh, as Fetch.KnownHosts.
	KnownHosts string
	// Caches are the directories that the session shares with others, if its agent has filled them and gives sessions rooms. An agent
	// of an older version shares none.
	Caches []SharedDir
	// Prepare is that for which the session begins with a layer, if the agent has one that is for its commit: see Client.Prepare. Image
	// is Preparation.Image.
	Prepare Prepare
	Image   string
	// Bare makes the session begin without a prepared layer, whatever there is.
	Bare bool
}

// Author is the author of commits in a checkout: git's user.name and user.email.
type Author struct{ Name, Email string }

// Checkout is a session's own repository inside the container.
type Checkout struct {
	Workdir string // its absolute path
	Branch  string // the branch that is checked out; "" = HEAD is detached
	Commit  string // its commit, in hex
	// SelfContained says that the checkout has all its objects, as Session.SelfContained asks for.
	SelfContained bool
	// Prepared is the commit on which the session's prepared layer was made; "" = it has none.
	Prepared string
}

// Command is one program to run in a session. It may have 65536 open files, or fewer if the container's hard limit is lower. It
// writes no core file when it crashes.
type Command struct {
	Session string
	Args    []string // Args[0] is looked up in the session's PATH unless it holds a slash
	Env     []string // "key=value", added to the session's environment; the last of equal keys wins
	Dir     string   // "" = the checkout; a relative path is relative to it

	// The streams are copied to their ends, at the pace of the Reader and the Writers. A slow Writer holds the program back;
	// its output is not buffered without bound. nil is /dev/null. If Stdout and Stderr are equal, they share one pipe, so
	// that the order of the output is kept. If Stdin has a method InputEnded(), that is called when no more is read from it.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal, unless nil, gives the program a terminal of that size in place of pipes: Stdin is typed, and Stdout gets what is
	// shown. Stderr is nil or equal to Stdout. The end of Stdin types the character for the end of a file, if the program reads
	// lines; a nil Stdin types nothing. TERM is xterm unless the environment has another one.
	Terminal *Size
	// Detached makes the command go on when no client has a use for it. The agent keeps the ends of both outputs, also when they were read, and
	// also where Stdout or Stderr is nil, so that a slow Writer does not hold it back: see [Client.Attach]. Keep is how many bytes of
	// each are kept; 0 = 16 MiB. A Terminal takes input from later clients also if Stdin is nil.
	Detached bool
	Keep     int64
	// WaitDelay bounds how long Wait copies after the program has ended, as in os/exec: a child that the program left behind
	// may hold the pipes open. 0 = no bound.
	WaitDelay time.Duration
	// Files starts the program that serves the session's files in place of Args, Env and Dir: package filewire is what it speaks on Stdin
	// and Stdout. It is not one of the session's commands: Client.Commands leaves it out, and only what is written to it counts as a
	// use of the session.
	Files bool
	// Hidden leaves the command out of Client.Commands: it is berth's own work. An agent of an older version lists it.
	Hidden bool
	// Work, unless empty, starts a program in place of Args, Env and Dir that packs the session's work to Stdout, or unpacks to the
	// session what was packed, from Stdin. It is not one of the session's commands either. Stderr gets why it failed.
	Work Work
	// Ended, unless nil, is called by Wait when the program has ended, before Wait waits for the streams. It can end a
	// Stdin that would never return. lost says why the exit will never be known; nil = exit is the program's exit.
	Ended func(exit Exit, lost error)
}

// Work is a program that packs or unpacks the work of a session: all that its checkout and its repository have become since the session
// began, also what git ignores. Objects that the repository borrows from the mirror are not packed.
type Work string

// The programs.
const (
	// PackWork stops the session's processes while it reads the files, so that what is packed fits together. The first line of
	// its output is a WorkHead.
	PackWork Work = "pack"
	// UnpackWork needs a session that was opened at the WorkHead's commit, and in which nothing was done. If it fails, the session
	// is of no use. It succeeds only if all was unpacked, and the repository has the commits that the work needs.
	UnpackWork Work = "unpack"
)

// WorkHead is the first line of what PackWork writes, in JSON.
type WorkHead = work.Head

// ReadWorkHead reads the first line of what PackWork has written.
func ReadWorkHead(r *bufio.Reader) (WorkHead, error) { return work.ReadHead(r) }

// Attach is a request for a command that was started Detached, by any client. Stdin takes the place of earlier clients' Stdin, whose
// copying ends then, unless the command was started without one. Stdin, Stdout, Stderr, WaitDelay and Ended are as those of Command. If
// the command has one stream for both outputs, Stdout gets it, and Stderr nothing.
type Attach struct {
	Session, ID    string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// StdoutFrom and StderrFrom are the offsets from which on the outputs are copied. A negative one counts from what has been
	// written by now: -N is the last N bytes. Where less is kept, what is kept is copied.
	StdoutFrom, StderrFrom int64
	WaitDelay              time.Duration
	Ended                  func(exit Exit, lost error)
}

// Attached says where the outputs of an attached command begin. Terminal says that it has a terminal.
type Attached struct {
	StdoutFrom, StderrFrom int64
	Terminal               bool
}

// Size is the size of a terminal in characters.
type Size struct{ Rows, Cols uint16 }

// Exit says how a program ended.
type Exit struct {
	Code   int // the exit code; -1 if a signal ended it
	Signal int // the signal's number; 0 if it exited
	// OutOfMemory says that the program did not succeed, and that the kernel killed a process of the session's room for lack of
	// memory while it ran: the program, a child of it, or the room's first process, with which all others end. Without rooms it
	// may have been a process of any session of the container. It is false if the container cannot see such kills.
	OutOfMemory bool
	// Reason says why the agent ended all processes of the session, the program among them: they had used up something that
	// sessions share. "" = it did not.
	Reason string
	// OverLimit says why the agent has ended the session, if that killed the program: see EndedSession. "" = it did not.
	OverLimit string
}

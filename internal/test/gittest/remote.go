package gittest

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Remote is one repository of a SmartServer with its faults. Its methods may be called at any time, and apply to the
// requests that begin afterwards.
type Remote struct {
	server *SmartServer
	name   string
	dir    string
	lfs    lfsStore

	change sync.Mutex // serialises changes of the repository, so that no two write one ref

	mu       sync.Mutex // protects the fields below
	faults   faults
	fetches  int
	requests int
}

// faults are the faults of a remote. The zero value is a well-behaved server.
type faults struct {
	user, password string        // required of every request unless both are empty
	delay          time.Duration // before every answer
	refuse         int           // the status of every answer; 0 = none
	flake          int           // the status of the next answer only; 0 = none
	echo           bool          // every answer is a refusal that repeats the request's credential
	cutAfter       int64         // how many bytes of an answer with a pack get through; 0 = all
}

// URL returns the remote's URL for containers. On Linux it serves this machine too.
func (r *Remote) URL() string { return "http://" + r.server.where.container + "/" + r.name + ".git" }

// LocalURL returns the remote's URL for this machine.
func (r *Remote) LocalURL() string { return r.server.hostURL(r.name) }

// Dir returns the bare repository's directory, for changes that Remote has no methods for.
func (r *Remote) Dir() string { return r.dir }

// RequireCredentials refuses, with status 401, every request without this user and password in basic authentication.
// Two empty strings undo that.
func (r *Remote) RequireCredentials(user, password string) {
	r.set(func(f *faults) { f.user, f.password = user, password })
}

// Delay delays every answer by d.
func (r *Remote) Delay(d time.Duration) { r.set(func(f *faults) { f.delay = d }) }

// Refuse answers every request with this status. 0 undoes that.
func (r *Remote) Refuse(status int) { r.set(func(f *faults) { f.refuse = status }) }

// Echo asks for a credential and refuses each, in words that repeat it, as a hostile server may. git shows these words.
func (r *Remote) Echo(echo bool) { r.set(func(f *faults) { f.echo = echo }) }

// Flake answers the next request with this status, and no other.
func (r *Remote) Flake(status int) { r.set(func(f *faults) { f.flake = status }) }

// CutAfter drops the connection after n bytes of an upload-pack answer, as if the fetch were cut off. 0 undoes that.
func (r *Remote) CutAfter(n int64) { r.set(func(f *faults) { f.cutAfter = n }) }

func (r *Remote) set(change func(*faults)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.faults)
}

// Fetches returns how many fetches and clones got a pack, or the beginning of one. It does not count requests for refs
// (git ls-remote, or a fetch that finds nothing new).
func (r *Remote) Fetches() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fetches
}

// Requests returns how many requests of any kind arrived, including refused ones.
func (r *Remote) Requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// Commit adds a commit that sets one file of a branch and returns its hash. A branch that does not exist begins at
// main's head.
func (r *Remote) Commit(branch, path, content string) string {
	r.server.t.Helper()
	r.change.Lock()
	defer r.change.Unlock()
	if !r.exists(branch) && branch != "main" && r.exists("main") {
		r.git("-C", r.dir, "branch", "--no-track", branch, "main")
	}
	parent := ""
	if r.exists(branch) {
		parent = "from refs/heads/" + branch + "^0\n"
	}
	var in bytes.Buffer
	message := "Set " + path + "\n"
	in.WriteString("commit refs/heads/" + branch + "\ncommitter Berth Test <test@berth.invalid> " + strconv.FormatInt(time.Now().Unix(), 10) + " +0000\n")
	in.WriteString("data " + strconv.Itoa(len(message)) + "\n" + message + parent)
	in.WriteString("M " + modeOf(content) + " inline " + path + "\ndata " + strconv.Itoa(len(content)) + "\n" + content + "\ndone\n")
	r.importStream(&in)
	return r.git("-C", r.dir, "rev-parse", "refs/heads/"+branch)
}

// DeleteBranch removes a branch. Its commits stay in the repository, but nothing names them.
func (r *Remote) DeleteBranch(branch string) {
	r.server.t.Helper()
	r.change.Lock()
	defer r.change.Unlock()
	r.git("-C", r.dir, "update-ref", "-d", "refs/heads/"+branch)
}

// SetDefaultBranch makes HEAD name another branch.
func (r *Remote) SetDefaultBranch(branch string) {
	r.server.t.Helper()
	r.change.Lock()
	defer r.change.Unlock()
	r.git("-C", r.dir, "symbolic-ref", "HEAD", "refs/heads/"+branch)
}

// Tag puts an annotated tag on a branch's head, and returns the hash of the commit.
func (r *Remote) Tag(name, branch string) string {
	r.server.t.Helper()
	r.change.Lock()
	defer r.change.Unlock()
	r.git("-C", r.dir, "-c", "user.name=Berth Test", "-c", "user.email=test@berth.invalid", "tag", "-a", "-m", name, name, "refs/heads/"+branch)
	return r.Head(branch)
}

// Head returns the hash that a branch points to.
func (r *Remote) Head(branch string) string {
	r.server.t.Helper()
	return r.git("-C", r.dir, "rev-parse", "--verify", "refs/heads/"+branch)
}

// Branches returns the names of all branches, sorted.
func (r *Remote) Branches() []string {
	r.server.t.Helper()
	return strings.Fields(r.git("-C", r.dir, "for-each-ref", "--format=%(refname:short)", "refs/heads"))
}

func (r *Remote) exists(branch string) bool {
	return r.git("-C", r.dir, "for-each-ref", "--format=1", "refs/heads/"+branch) != ""
}

func (r *Remote) fastImport(history History) {
	r.server.t.Helper()
	var in bytes.Buffer
	if err := history(&in); err != nil {
		r.server.t.Fatalf("gittest: making %s: %v", r.name, err)
	}
	r.importStream(&in)
}

func (r *Remote) importStream(in *bytes.Buffer) {
	r.server.t.Helper()
	cmd := exec.Command(r.server.git, "-C", r.dir, "fast-import", "--quiet", "--done")
	cmd.Stdin = in
	r.server.run(cmd)
}

func (r *Remote) git(args ...string) string {
	r.server.t.Helper()
	return r.server.run(exec.Command(r.server.git, args...))
}

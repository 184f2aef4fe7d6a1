package gittest

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Remote is one repository of a SmartServer, and the faults that it shows. Its methods may be called at any time and
// hold for the requests that begin afterwards.
type Remote struct {
	server *SmartServer
	name   string
	dir    string

	change sync.Mutex // serialises changes of the repository, so that no two write one ref

	mu       sync.Mutex // guards what follows
	faults   faults
	fetches  int
	requests int
}

// faults is what a remote does to a request. The zero value is a well-behaved server.
type faults struct {
	user, password string        // asked of every request unless both are empty
	delay          time.Duration // before every answer
	refuse         int           // status of every answer; 0 means none
	cutAfter       int64         // bytes of a pack's answer that get through; 0 means all
}

// URL returns the remote's URL for containers. On Linux it serves this machine too.
func (r *Remote) URL() string { return "http://" + r.server.where.container + "/" + r.name + ".git" }

// LocalURL returns the remote's URL for this machine.
func (r *Remote) LocalURL() string { return r.server.hostURL(r.name) }

// Dir returns the bare repository's directory, for what the methods of Remote do not offer.
func (r *Remote) Dir() string { return r.dir }

// RequireCredentials refuses, with status 401, every request that does not carry this user and password by basic
// authentication. Two empty strings let everybody in again.
func (r *Remote) RequireCredentials(user, password string) {
	r.set(func(f *faults) { f.user, f.password = user, password })
}

// Delay holds every answer back for d.
func (r *Remote) Delay(d time.Duration) { r.set(func(f *faults) { f.delay = d }) }

// Refuse answers every request with this status. 0 serves again.
func (r *Remote) Refuse(status int) { r.set(func(f *faults) { f.refuse = status }) }

// CutAfter drops the connection once n bytes of an upload-pack answer went out, as when a fetch is cut off half way.
// 0 lets everything through again.
func (r *Remote) CutAfter(n int64) { r.set(func(f *faults) { f.cutAfter = n }) }

func (r *Remote) set(change func(*faults)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.faults)
}

// Fetches returns how many fetches and clones were sent a pack, or the beginning of one. A look at the refs
// (git ls-remote, or a fetch that finds nothing new) is no fetch.
func (r *Remote) Fetches() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fetches
}

// Requests returns how many requests of any kind arrived, refused ones included.
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

// SetDefaultBranch lets HEAD name another branch.
func (r *Remote) SetDefaultBranch(branch string) {
	r.server.t.Helper()
	r.change.Lock()
	defer r.change.Unlock()
	r.git("-C", r.dir, "symbolic-ref", "HEAD", "refs/heads/"+branch)
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

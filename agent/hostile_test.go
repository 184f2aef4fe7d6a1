package agent_test

import (
	"bytes"

	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// A forger makes objects in a repository that git itself would not make.
type forger struct {
	tb  testing.TB
	dir string
}

// git runs git with an input.
func (f forger) git(input string, args ...string) string {
	f.tb.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = f.dir, strings.NewReader(input)
	cmd.Env = append(os.Environ(), "HOME="+f.dir, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.Output()
	if err != nil {
		f.tb.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

func (f forger) blob(text string) string { return f.git(text, "hash-object", "-w", "--stdin") }

// An entry is one of a tree. Nothing about it is checked.
type entry struct{ mode, name, id string }

func (f forger) tree(entries ...entry) string {
	f.tb.Helper()
	var b bytes.Buffer
	for _, e := range entries {
		id, err := hex.DecodeString(e.id)
		if err != nil {
			f.tb.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\x00%s", e.mode, e.name, id)
	}
	return f.git(b.String(), "hash-object", "-t", "tree", "-w", "--literally", "--stdin")
}

// commit makes a commit of a tree and a branch of it.
func (f forger) commit(branch, tree string) {
	f.tb.Helper()
	id := f.git("", "commit-tree", "-m", "x", tree)
	f.git("", "update-ref", "refs/heads/"+branch, id)
}

// dumb serves a repository's files without git, so that no server and no index-pack checks an object.
func dumb(tb testing.TB, dir string) string {
	tb.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	tb.Cleanup(server.Close)
	return server.URL + "/.git"
}

const file, dir, link, module = "100644", "40000", "120000", "160000"

// hostileTrees are attacks on git by what a commit holds. PLANTED is a directory outside of every checkout that all may write.
func hostileTrees(f forger, planted string) map[string]string {
	text := f.blob("planted\n")
	script := f.blob("#!/bin/sh\ntouch " + planted + "/ran\n")
	sub := f.tree(entry{file, "f", text})
	evil := f.tree(entry{file, "config", f.blob("[core]\n\tfsmonitor = touch " + planted + "/ran\n")})
	abroad := f.blob(planted)
	commit := f.git("", "commit-tree", "-m", "x", sub)
	modules := func(text string) string {
		return f.tree(entry{file, ".gitmodules", f.blob(text)}, entry{module, "sub", commit})
	}
	trees := map[string]string{
		"a submodule's URL is an option":        modules("[submodule \"x\"]\n\tpath = sub\n\turl = -u./payload\n"),
		"a submodule's path is an option":       modules("[submodule \"x\"]\n\tpath = -sub\n\turl = https://h.invalid/x\n"),
		"a submodule's name climbs out":         modules("[submodule \"../../.git/modules/x\"]\n\tpath = sub\n\turl = https://h.invalid/x\n"),
		"a submodule's URL has a line break":    modules("[submodule \"x\"]\n\tpath = sub\n\turl = \"https://h.invalid/\\n?x\"\n"),
		"a submodule updates by a command":      modules("[submodule \"x\"]\n\tpath = sub\n\turl = https://h.invalid/x\n\tupdate = !touch " + planted + "/ran\n"),
		".gitmodules is a link":                 f.tree(entry{link, ".gitmodules", abroad}),
		".git is a link":                        f.tree(entry{link, ".git", abroad}),
		"a link and a directory of one name":    f.tree(entry{link, "d", abroad}, entry{dir, "d", sub}),
		"a link and a directory, by their case": f.tree(entry{link, "D", abroad}, entry{dir, "d", sub}),
		"a link that leads out":                 f.tree(entry{link, "etc", f.blob("/etc")}, entry{link, "up", f.blob("../../..")}, entry{link, "x", abroad}),
		"a filter in .gitattributes":            f.tree(entry{file, ".gitattributes", f.blob("* filter=evil diff=evil merge=evil\n")}, entry{file, ".gitconfig", f.blob("[filter \"evil\"]\n\tsmudge = touch " + planted + "/ran\n")}, entry{file, "f", text}),
		"hooks":                                 f.tree(entry{dir, "hooks", f.tree(entry{"100755", "post-checkout", script}, entry{"100755", "post-index-change", script})}),
		"a bare repository":                     f.tree(entry{file, "HEAD", f.blob("ref: refs/heads/x\n")}, entry{file, "config", f.blob("[core]\n\tbare = true\n\tfsmonitor = touch " + planted + "/ran\n")}, entry{dir, "objects", sub}, entry{dir, "refs", sub}),
	}
	for _, name := range []string{".git", ".GIT", ".Git", "git~1", "GIT~1", ".g\u200cit", ".gi\ufefft", ".git ", ".git.", ".git::$INDEX_ALLOCATION", "..", ".", "", "../x", "a/b", "/etc", `..\x`} {
		trees[fmt.Sprintf("a directory %q", name)] = f.tree(entry{dir, name, evil})
		trees[fmt.Sprintf("a file %q", name)] = f.tree(entry{file, name, text})
	}
	return trees
}

// TestRepositoriesThatAttackGit are refused or harmless, whether or not the objects were checked on their way, and the agent
// and another session go on.
func TestRepositoriesThatAttackGit(t *testing.T) {
	r := start(t)
	r.session(t, "good", 10001)
	planted := filepath.Join(r.agent.Dir, "planted")
	if err := os.Mkdir(planted, 0o777); err != nil {
		t.Fatal(err)
	}
	os.Chmod(planted, 0o777)
	f := forger{t, filepath.Join(r.git.Dir, "small")}
	byFiles := dumb(t, f.dir)
	n := 0
	for name, tree := range hostileTrees(f, planted) {
		for server, url := range map[string]string{"checked": r.url, "unchecked": byFiles} {
			if server == "checked" && strings.HasPrefix(name, "a file ") && !soak() {
				continue // git's check of a tree looks at the name alone, and the directory of that name has it
			}
			n++
			id, uid := fmt.Sprint("evil", n), 10010+n
			f.commit("evil", tree)
			f.git("", "update-server-info")
			err := r.open(t, url, agent.Session{ID: id, UID: uid, Dir: "small", URL: url, Branch: "evil"})
			if err != nil {
				oneLine(t, err)
			}
			t.Logf("%s, %s: %v", name, server, err)
			if out, _ := r.run(t, "good", "cat README.md; git status --porcelain"); out != "hello\n" {
				t.Errorf("%s, %s: the other session has %q", name, server, out)
			}
			if left, _ := os.ReadDir(planted); len(left) > 0 {
				t.Fatalf("%s, %s: there is %s", name, server, left[0].Name())
			}
			if err == nil {
				top := filepath.Join(r.agent.Dir, "sessions", id)
				if config, err := os.ReadFile(filepath.Join(top, "small/.git/config")); err != nil || bytes.Contains(config, []byte("fsmonitor")) || !bytes.Contains(config, []byte("[protocol \"file\"]\n\tallow = \"user\"")) {
					t.Errorf("%s, %s: the configuration is %q, %v", name, server, config, err)
				}
				if entries, _ := os.ReadDir(top); len(entries) != 5 { // with the home, tmp, known hosts, and a copy of the index for snapshots
					t.Errorf("%s, %s: beside the checkout there is %v", name, server, entries)
				}
				r.CloseSession(testContext(t), id, uid)
			}
			f.git("", "update-ref", "-d", "refs/heads/evil")
		}
	}
	f.git("", "update-server-info")
	r.fetch(t, agent.Fetch{})
}

// open fetches and opens a session.
func (r *ready) open(t *testing.T, url string, s agent.Session) error {
	t.Helper()
	if _, err := r.Fetch(testContext(t), agent.Fetch{URL: url, Branch: s.Branch}, nil); err != nil {
		return err
	}
	_, err := r.Open(testContext(t), s)
	return err
}

// oneLine checks an error's text.
func oneLine(t *testing.T, err error) {
	t.Helper()
	for _, c := range err.Error() {
		if !gitremote.Shows(c) {
			t.Errorf("%U is in %q", c, err)
		}
	}
}

// TestNamesOfRefsThatAttack are legal for git, or refused by it.
func TestNamesOfRefsThatAttack(t *testing.T) {
	r := start(t)
	f := forger{t, filepath.Join(r.git.Dir, "small")}
	head := f.git("", "rev-parse", "HEAD")
	names := append(hostileBranches(t), "HEAD", head, "-x", "--exec=id", strings.Repeat("long/", 400)+"x")
	for i, name := range names {
		cmd := exec.Command("git", "update-ref", "refs/heads/"+name, head)
		cmd.Dir = f.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("git takes no branch %q: %s", name, out)
			continue
		}
		id := fmt.Sprint("s", i)
		err := r.open(t, r.url, agent.Session{ID: id, UID: 10010 + i, Dir: "small", URL: r.url, Branch: name})
		if err != nil {
			oneLine(t, err)
			continue
		}
		if out, exit := r.run(t, id, "git symbolic-ref HEAD; git status --porcelain; git fetch -q"); exit.Code != 0 || !strings.HasPrefix(out, "refs/heads/"+name+"\n") {
			t.Errorf("%q: %q, %+v", name, out, exit)
		}
	}
}

// hostileBranches returns the names of branches in the table of hostile input of package naming.
func hostileBranches(t *testing.T) (names []string) {
	t.Helper()
	table, err := os.ReadFile("../naming/testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		columns := strings.Split(line, "\t")
		var name string
		if columns[0] == "branch" && json.Unmarshal([]byte(columns[1]), &name) == nil {
			names = append(names, name)
		}
	}
	if len(names) < 10 {
		t.Fatalf("the table has %d branches", len(names))
	}
	return names
}

// TestAHEADThatIsNoBranch would make git take the mirror for no repository.
func TestAHEADThatIsNoBranch(t *testing.T) {
	for _, evil := range []string{"m..n", "m/.n", "/../", "m\x1b\x1bn", "m@{n"} {
		for _, cold := range []bool{true, false} {
			t.Run(fmt.Sprintf("%q cold %v", evil, cold), func(t *testing.T) {
				git := agenttest.NewGitServer(t)
				path := strings.TrimPrefix(git.Repo("small", map[string]string{"f": "f\n"}), git.URL)
				proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					req.Header.Del("Accept-Encoding")
					record := httptest.NewRecorder()
					git.Config.Handler.ServeHTTP(record, req)
					body := bytes.ReplaceAll(record.Body.Bytes(), []byte("symref-target:refs/heads/main"), []byte("symref-target:refs/heads/"+evil))
					for key := range record.Header() {
						if key != "Content-Length" {
							w.Header().Set(key, record.Header().Get(key))
						}
					}
					w.WriteHeader(record.Code)
					w.Write(body)
				}))
				t.Cleanup(proxy.Close)
				a, url := agenttest.Start(t), proxy.URL+path
				r := &ready{Client: a.Client(agent.ClientOptions{}), agent: a, git: git, url: git.URL + path}
				if !cold {
					r.fetch(t, agent.Fetch{})
				}
				if _, err := r.Fetch(testContext(t), agent.Fetch{URL: url}, nil); err != nil {
					oneLine(t, err)
				}
				if err := r.open(t, url, agent.Session{ID: "a", UID: 10001, Dir: "x", URL: url, Branch: "main"}); err != nil {
					t.Fatal(err)
				}
				if out, exit := r.run(t, "a", "git status --porcelain; git branch -r; git fetch -q"); exit.Code != 0 || strings.Contains(out, "fatal") || !strings.Contains(out, "origin/main") {
					t.Errorf("%q %+v", out, exit)
				}
			})
		}
	}
}

// TestAlternatesOfARemote name other servers, which are not asked.
func TestAlternatesOfARemote(t *testing.T) {
	r := start(t)
	asked := make(chan string, 100)
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked <- req.URL.Path
		http.NotFound(w, req)
	}))
	t.Cleanup(inner.Close)
	f := forger{t, filepath.Join(r.git.Dir, "small")}
	f.git("", "repack", "-adq")
	info := filepath.Join(f.dir, ".git/objects/info")
	os.MkdirAll(info, 0o755)
	for _, name := range []string{"http-alternates", "alternates"} {
		if err := os.WriteFile(filepath.Join(info, name), []byte(inner.URL+"/objects/\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	missing := f.git("", "commit-tree", "-m", "missing", "HEAD^{tree}")
	f.git("", "update-ref", "refs/heads/missing", missing)
	f.git("", "update-server-info")
	if err := os.Remove(filepath.Join(f.dir, ".git/objects", missing[:2], missing[2:])); err != nil {
		t.Fatal(err)
	}
	url := dumb(t, f.dir)
	if _, err := r.Fetch(testContext(t), agent.Fetch{URL: url}, nil); err == nil {
		t.Error("an object is missing")
	} else {
		oneLine(t, err)
	}
	if len(asked) > 0 {
		t.Errorf("asked for %s", <-asked)
	}
}

// TestTheRemotesWordsForgeNothing in an error.
func TestTheRemotesWordsForgeNothing(t *testing.T) {
	agenttest.Need(t)
	const words = "x\x1b[2J\u202e\r\nlevel=ERROR msg=forged"
	for name, answer := range map[string]http.HandlerFunc{
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, words)
		},
		"an error packet": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			packet := "ERR " + words
			fmt.Fprintf(w, "001e# service=git-upload-pack\n0000%04x%s", len(packet)+4, packet)
		},
		"a status": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 418 \x1b[2J\u202e forged\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			t.Cleanup(server.Close)
			r := &ready{agent: agenttest.Start(t)}
			r.Client = r.agent.Client(agent.ClientOptions{})
			_, err := r.Fetch(testContext(t), agent.Fetch{URL: server.URL + "/x"}, nil)
			failed, ok := errors.AsType[*agent.GitError](err)
			if !ok {
				t.Fatalf("%v", err)
			}
			oneLine(t, err)
			if name != "a status" && !strings.Contains(failed.Message, `the remote says: "`) {
				t.Errorf("%s", failed.Message)
			}
			log, _ := os.ReadFile(r.agent.Log)
			if bytes.Contains(log, []byte("\nlevel=ERROR")) || bytes.Contains(log, []byte("\x1b")) || bytes.Contains(log, []byte("\u202e")) {
				t.Errorf("the agent's log is\n%q", log)
			}
		})
	}
}

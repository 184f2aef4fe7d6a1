package agent_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

func withAndWithoutRooms(t *testing.T, test func(t *testing.T)) {
	t.Run("shared", test)
	inRooms(t, test)
}

// work runs one of the programs for the work of a session.
func (r *ready) work(t *testing.T, session string, what agent.Work, in io.Reader) (out []byte, failure string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p, err := r.Start(testContext(t), agent.Command{Session: session, Work: what, Stdin: in, Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		t.Fatal(err)
	}
	exit, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if exit.Code != 0 {
		return nil, stderr.String()
	}
	return stdout.Bytes(), ""
}

// pack packs the work of a session.
func (r *ready) pack(t *testing.T, session string) ([]byte, agent.WorkHead) {
	t.Helper()
	packed, failure := r.work(t, session, agent.PackWork, nil)
	if failure != "" {
		t.Fatal(failure)
	}
	head, err := agent.ReadWorkHead(bufio.NewReader(bytes.NewReader(packed)))
	if err != nil {
		t.Fatal(err)
	}
	return packed, head
}

// at opens a session at a commit.
func (r *ready) at(t *testing.T, id string, uid int, commit string) {
	t.Helper()
	s := agent.Session{ID: id, UID: uid, Dir: "small", URL: r.url, Branch: commit, Author: agent.Author{Name: id, Email: id + "@example.com"}}
	if _, err := r.Open(testContext(t), s); err != nil {
		t.Fatal(err)
	}
}

const doWork = `set -e
git config user.name worker; git config user.email worker@example.com
git checkout -q -b feature
echo committed > committed; git add committed; git commit -q -m local
echo stashed >> README.md; git stash -q
echo staged > staged; git add staged
echo unstaged >> README.md
echo ignored > out.log; printf '*.log\n' > .gitignore
mkdir -p new/empty; echo untracked > new/file; ln -s /etc/passwd new/link; ln new/file new/again
git rm -q --cached gone/one; rm -r gone
chmod 755 mode; chmod 500 new/empty
mv moved moved-away
rm file-to-dir; mkdir file-to-dir; echo x > file-to-dir/f
rm -r dir-to-file; echo y > dir-to-file
touch .git/index.lock
`

// showWork prints all that is to be the same in the session that comes after. It prints no name of its session.
const showWork = `find . -path ./.git -prune -o -printf '%p %y %m %l %n\n' | grep -v '^[.] ' | sort
find . -path ./.git -prune -o -type f -print | sort | xargs md5sum
find . -path ./.git -prune -o -user root -print
git status --porcelain --ignored -b; git stash list; git log --oneline --all --format='%H %D' | sort; git diff --cached --stat; git fsck --full 2>&1; git stash show -p; git symbolic-ref HEAD
test ! -e .git/index.lock; stat -c %U . | sed 's/[0-9]*$//'
`

// TestTheWorkOfASession is the same in another session, and so is what that one has become.
func TestTheWorkOfASession(t *testing.T) {
	withAndWithoutRooms(t, func(t *testing.T) {
		r := start(t)
		r.git.Commit("small", map[string]string{
			"gone/one": "1", "gone/two": "2", "mode": "#!", "moved/a": "a", "moved/b": "b", "file-to-dir": "f", "dir-to-file/d": "d", "kept/k": "k",
		})
		r.fetch(t, agent.Fetch{})
		base := r.git.Git("small", "rev-parse", "HEAD")
		r.at(t, "source", 10001, "main")
		const source = "source"
		if out, exit := r.run(t, source, doWork); exit.Code != 0 {
			t.Fatal(out, exit)
		}
		want, _ := r.run(t, source, showWork)
		packed, head := r.pack(t, source)
		if head.Commit != base || head.Files > 200 {
			t.Errorf("%s: %+v", source, head)
		}
		again := "of-" + source
		r.at(t, again, 10010, base)
		if _, failure := r.work(t, again, agent.UnpackWork, bytes.NewReader(packed)); failure != "" {
			t.Fatal(failure)
		}
		if got, _ := r.run(t, again, showWork); got != want || !strings.Contains(want, "M README.md") {
			t.Errorf("%s: got\n%s\nwant\n%s", source, got, want)
		}
		if out, _ := r.run(t, again, "git config user.name; git config user.email; cat .git/objects/info/alternates | wc -l; git fetch -q 2>&1; git commit -qm next && git log -1 --format=%an; ls -a | grep git-of"); out != again+"\n"+again+"@example.com\n1\n"+again+"\n" {
			t.Errorf("%s: %q", source, out)
		}
		// And what it has become is packed and unpacked again.
		second, _ := r.pack(t, again)
		third := "third-" + source
		r.at(t, third, 10020, base)
		if _, failure := r.work(t, third, agent.UnpackWork, bytes.NewReader(second)); failure != "" {
			t.Fatal(failure)
		}
		was, _ := r.run(t, again, showWork)
		if got, _ := r.run(t, third, showWork); got != was {
			t.Errorf("%s: got\n%s\nwant\n%s", source, got, was)
		}
	})
}

// TestWorkIsPackedWhileNothingRuns: two files that a program changes one after the other are never packed with the second one ahead, and the
// program goes on.
func TestWorkIsPackedWhileNothingRuns(t *testing.T) {
	withAndWithoutRooms(t, func(t *testing.T) {
		r := start(t)
		r.at(t, "s", 10001, "main")
		ctx, stop := context.WithCancel(testContext(t))
		defer stop()
		p, err := r.Start(ctx, agent.Command{Session: "s", Args: []string{"sh", "-c", "n=0; while :; do n=$((n+1)); echo $n > a; echo $n > z; done"}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Kill(testContext(t))
		last := ""
		for n := range 5 {
			packed, head := r.pack(t, "s")
			id := "of-s" + string(rune('a'+n))
			r.at(t, id, 10010+n, head.Commit)
			if _, failure := r.work(t, id, agent.UnpackWork, bytes.NewReader(packed)); failure != "" {
				t.Fatal(failure)
			}
			out, _ := r.run(t, id, "a=$(cat a); z=$(cat z); test -z \"$a\" || test -z \"$z\" || test $a = $z || test $a = $((z+1)) || echo a=$a z=$z")
			if out != "" {
				t.Error(out)
			}
			for deadline := time.Now().Add(patience); ; { // it goes on
				now, _ := r.run(t, "s", "cat a z")
				if now != last {
					last = now
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the program does not go on")
				}
			}
		}
	})
}

// TestWorkThatIsBroken is refused, and so is that of another repository.
func TestWorkThatIsBroken(t *testing.T) {
	r := start(t)
	r.at(t, "s", 10001, "main")
	if out, exit := r.run(t, "s", "echo x > new; git add new; git -c user.name=x -c user.email=x@x commit -qm x; echo y > new"); exit.Code != 0 {
		t.Fatal(out)
	}
	packed, head := r.pack(t, "s")
	for n, test := range []struct {
		name   string
		packed []byte
		want   string
	}{
		{"nothing", nil, "EOF"},
		{"another file", []byte("#!/bin/sh\n\n"), "no packed work"},
		{"of a later version", []byte("{\"version\":9}\n"), "version is 9"},
		{"half", packed[:len(packed)/2], ""},
		{"followed by something", append(bytes.Clone(packed), "more"...), ""},
	} {
		id := "broken" + string(rune('a'+n))
		r.at(t, id, 10010+n, head.Commit)
		if _, failure := r.work(t, id, agent.UnpackWork, bytes.NewReader(test.packed)); failure == "" || !strings.Contains(failure, test.want) {
			t.Errorf("%s: %q", test.name, failure)
		}
	}
}

func TestAnAgentThatKeepsNoWork(t *testing.T) {
	client := agent.NewClient(greeter(t, `{"protocol":1,"oldest":1,"build":"old","boot":"b","files":true}`), agent.ClientOptions{})
	defer client.Close()
	_, err := client.Start(context.Background(), agent.Command{Session: "s", Work: agent.PackWork, Stdout: io.Discard})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Start returned %v", err)
	}
}

package agent_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// peak returns the largest memory that the agent has had, in KiB.
func (r *ready) peak(t *testing.T) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.agent.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmHWM: %d kB", &kib)
	}
	return kib
}

// maxPeak is far above what the agent needs, and far below what a repository of these could take.
const maxPeak = 96 << 10

// TestARepositoryThatExpands is refused before a file is written, in the agent's usual memory, and others go on.
func TestARepositoryThatExpands(t *testing.T) {
	limit := soaking(20<<20, 100<<20) // a test that has no race detector shows that the agent does not hold as much
	files := soaking(100_000, 0)      // 0 = the default, which takes seconds to count
	for name, test := range map[string]struct {
		make    func(f forger) (tree string)
		setting string
	}{
		"10^8 files in 8 trees": {func(f forger) string {
			return nested(f, entry{file, "", f.blob("x")}, 8, 10)
		}, "Files"},
		"10^8 empty directories in 9 trees": {func(f forger) string {
			return nested(f, entry{dir, "", f.tree()}, 8, 10)
		}, "Files"},
		"10,000 levels": {func(f forger) string {
			return levels(f, 10_000)
		}, "Depth"},
		"one large file under many names": {func(f forger) string {
			return nested(f, entry{file, "", f.blob(strings.Repeat("x", 1<<20))}, 5, 10)
		}, "Bytes"},
		"a large file in a small pack": {func(f forger) string {
			return f.tree(entry{file, "big", f.blob(strings.Repeat("\x00", int(limit)/2*3))})
		}, "Bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, fmt.Sprintf("-repository-checkout-bytes=%d", limit), fmt.Sprintf("-repository-checkout-files=%d", files))
			r.session(t, "good", 10001)
			f := forger{t, filepath.Join(r.git.Dir, "small")}
			f.commit("evil", test.make(f))
			err := r.open(t, r.url, agent.Session{ID: "evil", UID: 10002, Dir: "x", URL: r.url, Branch: "evil"})
			if err == nil || !strings.Contains(err.Error(), "Config.Limits.Repository."+test.setting) {
				t.Errorf("%v", err)
			}
			if peak := r.peak(t); peak > maxPeak && !agenttest.Race {
				t.Errorf("the agent had %d KiB", peak)
			}
			if left, _ := os.ReadDir(filepath.Join(r.agent.Dir, "sessions")); len(left) != 1 {
				t.Errorf("there are %v", left)
			}
			if out, _ := r.run(t, "good", "cat README.md"); out != "hello\n" {
				t.Errorf("the other session has %q", out)
			}
			r.fetch(t, agent.Fetch{Branch: "main"})
			r.session(t, "next", 10003)
		})
	}
}

// nested makes trees in each other, each of which holds the one below many times.
func nested(f forger, below entry, depth, width int) string {
	for range depth {
		var entries []entry
		for i := range width {
			entries = append(entries, entry{below.mode, fmt.Sprint("n", i), below.id})
		}
		below = entry{mode: dir, id: f.tree(entries...)}
	}
	return below.id
}

// levels makes as many directories in each other, by a stream for git fast-import.
func levels(f forger, n int) string {
	path := strings.Repeat("d/", n) + "f"
	f.git("blob\nmark :1\ndata 1\nx\ncommit refs/heads/levels\ncommitter a <a@b> 0 +0000\ndata 1\nx\nM 644 :1 "+path+"\n\n", "fast-import", "--quiet")
	tree := f.git("", "rev-parse", "refs/heads/levels^{tree}")
	f.git("", "update-ref", "-d", "refs/heads/levels")
	return tree
}

// TestManyRefs are served from a file: a session has all of them, and the agent holds none.
func TestManyRefs(t *testing.T) {
	agenttest.Need(t)
	const many = 100_000
	server := agenttest.NewGitServer(t)
	url := server.Repo("many", map[string]string{"f": "f\n"})
	f := forger{t, filepath.Join(server.Dir, "many")}
	head := f.git("", "rev-parse", "HEAD")
	var packed strings.Builder
	packed.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for i := range many / 2 {
		fmt.Fprintf(&packed, "%s refs/heads/some/branch-%06d\n", head, i)
	}
	for i := range many / 2 {
		fmt.Fprintf(&packed, "%s refs/tags/some-tag-%06d\n", head, i)
	}
	if err := os.WriteFile(filepath.Join(f.dir, ".git/packed-refs"), []byte(packed.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	a := agenttest.Start(t)
	r := &ready{Client: a.Client(agent.ClientOptions{}), agent: a, git: server, url: url}
	r.fetch(t, agent.Fetch{})
	for i, branch := range []string{"", "some/branch-000000", "some/branch-049999", "some-tag-031234", "refs/tags/some-tag-049999", "origin/some/branch-012345"} {
		if _, err := r.Open(testContext(t), agent.Session{ID: fmt.Sprint("s", i), UID: 10001 + i, Dir: "x", URL: url, Branch: branch}); err != nil {
			t.Errorf("%q: %v", branch, err)
		}
	}
	for _, branch := range []string{"some/branch-", "some/branch-1", "some", "zzz", "aaa", "some-tag-050000"} {
		if _, err := r.Open(testContext(t), agent.Session{ID: "none", UID: 10100, Dir: "x", URL: url, Branch: branch}); !errors.Is(err, agent.ErrBranchNotFound) {
			t.Errorf("%q is there", branch)
		}
	}
	if out, _ := r.run(t, "s1", "git for-each-ref | wc -l; git rev-parse --abbrev-ref HEAD; git fsck 2>&1"); out != fmt.Sprintf("%d\nsome/branch-000000\n", many+3) {
		t.Errorf("the session has %q", out)
	}
	if peak := r.peak(t); peak > maxPeak && !agenttest.Race {
		t.Errorf("the agent had %d KiB", peak)
	}

	few := another(t, r, url)
	few.agent.Restart("-repository-refs=5000")
	few.Client = few.agent.Client(agent.ClientOptions{})
	_, err := few.Fetch(testContext(t), agent.Fetch{URL: url}, nil)
	if err == nil || !strings.Contains(err.Error(), "5000") || !strings.Contains(err.Error(), "Config.Limits.Repository.Refs") {
		t.Errorf("%v", err)
	}
}

// TestAFetchThatIsTooLarge leaves nothing.
func TestAFetchThatIsTooLarge(t *testing.T) {
	r := start(t)
	noise := make([]byte, 4<<20)
	seed := uint32(1)
	for i := range noise {
		seed = seed*1664525 + 1013904223
		noise[i] = byte(seed >> 24)
	}
	r.git.Commit("small", map[string]string{"noise": string(noise)})
	r.agent.Restart("-repository-fetch-bytes=1000000")
	os.RemoveAll(filepath.Join(r.agent.Dir, "mirror/repo.git"))
	r.agent.Restart("-repository-fetch-bytes=1000000")
	r.Client = r.agent.Client(agent.ClientOptions{})
	_, err := r.Fetch(testContext(t), agent.Fetch{URL: r.url}, nil)
	if err == nil || !strings.Contains(err.Error(), "Config.Limits.Repository.FetchBytes") {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(r.agent.Dir, "mirror/[^.]*")); len(left) > 0 {
		t.Errorf("there is %v", left)
	}
}

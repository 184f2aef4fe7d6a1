package naming_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/berth-go/berth/naming"
)

// TestValidateBranchAgreesWithGit asks git about every name of a corpus. Git
// runs outside of any repository, where it replaces no @{-1}.
func TestValidateBranchAgreesWithGit(t *testing.T) {
	run := git(t)
	for _, name := range branchCorpus() {
		_, err := run("check-ref-format", "--branch", name)
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := naming.ValidateBranch(name); (got == nil) != (err == nil) {
			t.Errorf("ValidateBranch(%q) = %v, git says %v", name, got, err)
		}
	}
}

// branchCorpus returns names around every rule of git's, and random joins of
// the parts that the rules are about. The same ones in every run.
func branchCorpus() []string {
	names := []string{"", "@", "@@", "@{", "@{-1}", "@{u}", "a@{1}", "a@", "HEAD", "head", "HEAD/a", "a/HEAD", "FETCH_HEAD", "-", "--", "a-", "/-a", "a/-b",
		"refs/heads/main", "refs/heads/HEAD", "heads/HEAD", "caf\u00e9", "a\u202eb", strings.Repeat("0123456789", 4), "a.lock/b", ".lock", "a.lock.", "a.LOCK", "a.lock/", "\u0080", "\u2028"}
	for c := byte(1); c < 0x80; c++ {
		names = append(names, fmt.Sprintf("%c", c), fmt.Sprintf("%ca", c), fmt.Sprintf("a%c", c), fmt.Sprintf("a%cb", c))
	}
	parts := []string{"a", "b", "A1", "/", "/", ".", "..", "-", "@", "{", "}", "@{", "lock", ".lock", "HEAD", "refs/heads/", "~", "^", ":", "\\", " ", "$(id)", "'", "\u00fc"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var b strings.Builder
		for range 1 + random.IntN(6) {
			b.WriteString(parts[random.IntN(len(parts))])
		}
		names = append(names, b.String())
	}
	return names
}

// TestValidateBranchBeyondGit holds what is refused although git accepts it,
// and what no command line could ask git about.
func TestValidateBranchBeyondGit(t *testing.T) {
	longest := strings.Repeat("a", naming.MaxBranchLen)
	if err := naming.ValidateBranch(longest); err != nil {
		t.Error(err)
	}
	for _, name := range []string{longest + "a", "a\xffb", "a\x00b"} {
		if err := naming.ValidateBranch(name); !errors.Is(err, naming.ErrInvalid) {
			t.Errorf("ValidateBranch(%.20q) = %v, want ErrInvalid", name, err)
		}
	}
}

package git

import (
	"strings"
	"sync/atomic"
	"testing"
)

// TestAUserThatIsAToken is removed from URLs, however short it is and however it is spelled. A word that is the same stays.
func TestAUserThatIsAToken(t *testing.T) {
	for _, c := range []struct{ user, text, want string }{
		{"git", "fatal: git: cannot clone https://git@host.xz/o/git.git with git", "fatal: git: cannot clone https://host.xz/o/git.git with git"},
		{"git", "no access by git@host.xz:o/r", "no access by [removed]@host.xz:o/r"},
		{"git", "no access by git:@host.xz and git:x-oauth-basic@host.xz", "no access by [removed]@host.xz and [removed]@host.xz"},
		{"git", "digit@host.xz is another", "digit@host.xz is another"},
		{"t", "https://t@host.xz, t@host.xz; set a tag at it", "https://host.xz, [removed]@host.xz; set a tag at it"},
		{"a@b", "https://a@b@host.xz https://a%40b@host.xz a%40b@host.xz", "https://host.xz https://host.xz [removed]@host.xz"},
		{"to/k", "'https://to/k@host.xz'", "'https://host.xz'"},
		{"a b", "https://a b@host.xz a+b@host.xz a%20b@host.xz", "https://host.xz [removed]@host.xz [removed]@host.xz"},
		{"(.*", "https://host.xz/(.* (.*@host.xz", "https://host.xz/(.* [removed]@host.xz"},
		{strings.Repeat("x", 1<<20), "fatal: x", "fatal: x"},
		{"", "git@host.xz", "git@host.xz"},
	} {
		if got := scrub(c.text, userPattern(c.user), nil); got != c.want {
			t.Errorf("%.10q: %q became %q, want %q", c.user, c.text, got, c.want)
		}
		w := &lastWords{heard: new(atomic.Int64), user: userPattern(c.user)}
		w.Write([]byte("remote: " + c.text + "\n"))
		if got := w.String(); !strings.Contains(got, strings.Split(c.want, "'")[0]) || c.user != "" && len(c.user) < 100 && strings.Contains(got, " "+c.user+"@") {
			t.Errorf("%.10q: of %q is left %q", c.user, c.text, got)
		}
	}
}

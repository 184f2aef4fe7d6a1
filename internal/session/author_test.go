package session_test

import (
	"os/exec"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/internal/test/world"
)

// TestEveryUserCanCommit: git does not commit if it removes every character of the author's name.
func TestEveryUserCanCommit(t *testing.T) {
	git := testenv.Git(t)
	fallback := berth.Author{Name: "berth", Email: "berth@localhost"}
	for _, c := range []struct {
		user   string
		author berth.Author // of the request
		want   berth.Author
	}{
		{user: "alice", want: berth.Author{Name: "alice", Email: "alice"}},
		{user: "Al <al@x> ", want: berth.Author{Name: "Al al@x ", Email: "Alal@x"}},
		{user: "<>", want: fallback},
		{user: " ", want: fallback},
		{user: "...", want: fallback},
		{user: `.,:;"\'`, want: fallback},
		{user: "alice", author: berth.Author{Name: "..."}, want: berth.Author{Name: "alice", Email: "alice"}},
		{user: "<>", author: berth.Author{Name: "Alice"}, want: berth.Author{Name: "Alice", Email: fallback.Email}},
		{user: "<>", author: berth.Author{Email: "a@x"}, want: berth.Author{Name: fallback.Name, Email: "a@x"}},
	} {
		t.Run(c.user, func(t *testing.T) {
			var got berth.Author
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				r := world.Request("t", world.RepoA)
				r.UserID, r.Author = c.user, c.author
				world.Create(t, w.Provider, r)
				s := w.OpenSessions()[0]
				got = berth.Author{Name: s.AuthorName, Email: s.AuthorEmail}
			})
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			dir := t.TempDir()
			for _, args := range [][]string{
				{"init", "-q"}, {"-c", "user.name=" + got.Name, "-c", "user.email=" + got.Email, "commit", "--allow-empty", "-qm", "x"},
			} {
				cmd := exec.CommandContext(t.Context(), git, args...)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("git %q: %v: %s", args, err, out)
				}
			}
		})
	}
}

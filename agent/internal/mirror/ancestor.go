package mirror

import (
	"bytes"
	"context"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Leads reports, of a mirror, whether a commit is another one or one of its ancestors. Both are full IDs of commits that the mirror has.
func Leads(ctx context.Context, m *Mirror, commit, to string) (bool, error) {
	if commit == to {
		return true, nil
	}
	out, err := git.Run(ctx, m.Table, m.job("rev-list", wire.Fetch{}, nil,
		"--git-dir="+m.repo, "rev-list", "--max-count=1", commit, "^"+to, "--"))
	return err == nil && len(bytes.TrimSpace(out)) == 0, err
}

package mirror

import (
	"context"
	"fmt"
	"io"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Content returns a file of a mirror, of at most so many bytes.
func Content(ctx context.Context, m *Mirror, f File, most int64) (text []byte, err error) {
	job := m.job("cat-file", wire.Fetch{}, nil, "--git-dir="+m.repo, "cat-file", "blob", f.ID)
	job.Output = func(out io.Reader) (err error) {
		text, err = io.ReadAll(io.LimitReader(out, most+1))
		if err == nil && int64(len(text)) > most {
			err = fmt.Errorf("%s is longer than %d bytes", f.Path, most)
		}
		return err
	}
	_, err = git.Run(ctx, m.Table, job)
	return text, err
}

package mirror

import (
	"context"
	"fmt"
	"strings"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

// The oldest git that this package supports: Debian 10's. It has protocol version 2 and all options that this package uses.
const oldestMajor, oldestMinor = 2, 20

// checkGit refuses a git that is too old, before it fails somewhere in the middle.
func (m *Mirror) checkGit(ctx context.Context) error {
	if m.gitChecked {
		return nil
	}
	out, err := git.Run(ctx, m.Table, m.job("version", wire.Fetch{}, nil, "version"))
	if err != nil {
		return err
	}
	if version := strings.TrimSpace(string(out)); isTooOld(version) {
		return &git.Error{Op: "version", Message: fmt.Sprintf(
			"the image has %s, and git %d.%d or later is needed", version, oldestMajor, oldestMinor)}
	}
	m.gitChecked = true
	return nil
}

// isTooOld reads what git version prints: "git version 2.39.5 (Apple Git-154)". A version that it cannot read is new enough.
func isTooOld(version string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(version, "git version %d.%d", &major, &minor); n != 2 {
		return false
	}
	return major < oldestMajor || major == oldestMajor && minor < oldestMinor
}

package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-go/berth/agent/internal/wire"
)

// Promotion is a request to make what a session has installed the prepared layer of its commit.
type Promotion struct {
	Session string
	Env     map[string]string // whose values the layer may have: they are no secrets of the session's user
}

// Promote makes what a session has added to the files of its commit, and what it has in Prepare.Dirs, the prepared layer of that
// commit, for sessions with the same Prepare and Image. It takes the place of the one that was there, if any. The processes of the session are
// stopped while its files are read. Files that are the commit's, or in its submodules, are left out, and so is the repository.
//
// The layer is looked at before any session can have it. Promote returns ErrNotPromoted, and the error names the file, if it has
//
//   - a value of 8 bytes or more of the session's Env or of the Env of one of its commands, or the password in such a value, but for those
//     of Promotion.Env; or a password that its git was given: see Client.Questions
//   - the content of a file directly in the home, or in a directory of it for settings (.ssh, .aws, .config and so on), of at least 8 bytes
//     and at most 16 KiB, or, if it is a file with credentials such as .netrc, a word of at least 16 letters and digits of it
//   - in the checkout, a file with the name of one with credentials, such as .npmrc, .netrc or .env
//   - a link to another file of the session
//
// Values and contents are looked for as they are, in base64, and as in URLs and JSON, in files and in their names. Nothing looks into
// what is compressed or encrypted. It is ErrNotPromoted, too, if one of the commit's files that decide (Prepare.Files) has changed, if the
// session began with Bare, if the layer is larger than Prepare.MaxBytes, or if it takes longer than Prepare.Timeout.
//
// Sessions that are open keep what they have. Concurrent calls, and preparations, are done one after another. Prepared.Unshared says why no
// session could use a layer; then nothing was done. ErrUnknownSession, ErrOverLimit. errors.ErrUnsupported: the agent is too old for it.
func (c *Client) Promote(ctx context.Context, p Promotion, progress func(Progress)) (Prepared, error) {
	line, err := c.call(ctx, wire.Call{Op: wire.OpPromote, Promote: &wire.Promotion{Session: p.Session, Env: variables(p.Env)}}, progress)
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.CodeInvalid && e.Message == "unknown operation" {
		return Prepared{}, fmt.Errorf("the agent is too old to promote what a session has installed; a container that starts anew can: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return Prepared{}, err
	}
	if line.Prepared == nil {
		return Prepared{}, errIncomplete
	}
	return preparedOf(line.Prepared), nil
}

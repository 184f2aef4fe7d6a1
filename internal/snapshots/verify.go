package snapshots

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/berth-go/berth/orchestrator"
)

// verified reads a content, and compares its length and digest when it ends.
type verified struct {
	ctx     context.Context
	body    io.ReadCloser
	want    orchestrator.Snapshot
	left    int64
	hash    hash.Hash
	corrupt func() // called once when the content is not what was stored
	err     error  // what every further Read returns
}

func verify(ctx context.Context, body io.ReadCloser, want orchestrator.Snapshot, corrupt func()) *verified {
	return &verified{ctx: ctx, body: body, want: want, left: want.Size, hash: sha256.New(), corrupt: corrupt}
}

// Read implements [io.Reader]. Its io.EOF says that everything was right.
func (v *verified) Read(p []byte) (n int, err error) {
	if v.err == nil && v.ctx.Err() != nil {
		v.err = context.Cause(v.ctx)
	}
	if v.err != nil || len(p) == 0 {
		return 0, v.err
	}
	var beyond [1]byte
	if v.left == 0 {
		p = beyond[:] // all has come; the next byte is one too many
	}
	n, err = v.body.Read(p[:min(int64(len(p)), max(v.left, 1))])
	if n > 0 && v.left == 0 {
		n, v.err = 0, v.fault("it is longer than %d bytes", v.want.Size)
		return n, v.err
	}
	v.hash.Write(p[:n])
	v.left -= int64(n)
	switch {
	case err == nil:
	case !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		v.err = fmt.Errorf("read snapshot %s: %w", v.want.Name, err)
	case v.left > 0:
		v.err = v.fault("it ends %d bytes early", v.left)
	default:
		if got := "sha256:" + hex.EncodeToString(v.hash.Sum(nil)); got != v.want.Digest {
			v.err = v.fault("its digest is %s, not %s", got, v.want.Digest)
		} else {
			v.err = io.EOF
		}
	}
	return n, v.err
}

func (v *verified) fault(format string, args ...any) error {
	v.corrupt()
	return fmt.Errorf("%w: %s: %s", orchestrator.ErrSnapshotCorrupt, v.want.Name, fmt.Sprintf(format, args...))
}

// Close implements [io.Closer].
func (v *verified) Close() error { return v.body.Close() }

// bounded is a reader that ends with a context, between two calls of Read.
type bounded struct {
	ctx  context.Context
	from io.Reader
}

func (b bounded) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	return b.from.Read(p)
}

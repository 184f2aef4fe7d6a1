package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/berth-go/berth/agent/internal/wire"
)

// ReadLayer writes the prepared layer of a key and a commit, as Prepare and Promote have returned them, to w: a stream for WriteLayer, which nothing
// else reads. After an error, what was written is no whole stream. The error of w is returned as it is. The layer stays.
//
// ReadLayer returns ErrNoLayer if there is none, and errors.ErrUnsupported if the agent is too old for it. It is not tried again after the
// connection has broken.
func ReadLayer(ctx context.Context, c *Client, key, commit string, w io.Writer) error {
	var failed, cut error
	to := &remembering{w: w}
	err := once(ctx, c, request{method: http.MethodGet, path: "layers/" + url.PathEscape(key+"-"+commit), read: func(r *http.Response) error {
		_, cut = io.Copy(to, r.Body)
		failed = to.err
		return nil // the connection may be whole
	}})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failed != nil:
		return failed
	case cut != nil:
		return fmt.Errorf("the layer was cut off: %w", cut)
	}
	return err
}

// remembering is a Writer that remembers its error.
type remembering struct {
	w   io.Writer
	err error
}

func (r *remembering) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	r.err = err
	return n, err
}

// An Offer is a layer that WriteLayer brings to a container.
type Offer struct {
	Key      string // Prepared.Key of the branch there
	Branch   string // as in Preparation
	MaxBytes int64  // as in Prepare
}

// WriteLayer makes a prepared layer of what ReadLayer has written, of this container's mirror or of another one of the same repository. The end of
// r says that it is whole: any error but io.EOF leaves nothing. Prepared.Made is false if no session of the branch would begin with the
// layer, because its commit is none from which the branch has come; then r is not read to its end. Prepared.Unshared is as for Prepare.
//
// The error of r is returned as it is. errors.ErrUnsupported: the agent is too old for it. It is not tried again after the connection has broken.
func WriteLayer(ctx context.Context, c *Client, o Offer, r io.Reader) (Prepared, error) {
	var made *wire.Prepared
	query := url.Values{"branch": {o.Branch}, "bytes": {strconv.FormatInt(Prepare{MaxBytes: o.MaxBytes}.wire("").MaxBytes, 10)}}
	body := &body{r: r}
	err := once(ctx, c, request{method: http.MethodPut, path: "layers/" + url.PathEscape(o.Key) + "?" + query.Encode(), stream: body, length: -1, read: func(r *http.Response) error {
		return json.NewDecoder(r.Body).Decode(&made)
	}})
	switch failed := body.failed(); {
	case ctx.Err() != nil:
		return Prepared{}, context.Cause(ctx)
	case failed != nil:
		return Prepared{}, failed
	case err != nil:
		return Prepared{}, err
	case made == nil:
		return Prepared{}, errIncomplete
	}
	return preparedOf(made), nil
}

// once makes a request that cannot be repeated. A failure of the connection is its error.
func once(ctx context.Context, c *Client, r request) error {
	l, err := c.current(ctx)
	if err != nil {
		return err
	}
	err = l.do(ctx, r)
	if failed := (*transportError)(nil); errors.As(err, &failed) {
		return fmt.Errorf("the connection to the agent: %w", failed.err)
	}
	return err
}

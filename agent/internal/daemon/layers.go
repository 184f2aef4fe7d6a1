package daemon

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth/agent/internal/layer"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A prepared layer leaves the container for a store of a client, and comes from there to another one.

// sendLayer writes a prepared layer.
func sendLayer(d *Daemon, r *request) error {
	use := d.prepared.use(r.values["name"])
	if use == nil {
		return &wire.Error{Code: wire.CodeNoLayer, Message: "there is no such layer"}
	}
	defer use.release()
	head, err := json.Marshal(use.base)
	if err != nil {
		return err
	}
	if _, err := r.Write(append(head, '\n')); err != nil {
		return nil // the client has gone
	}
	if _, err := layer.Pack(r.Context(), r, use.dir, layer.Limits{}); err != nil {
		d.Log.Warn("a prepared layer cannot be sent", "commit", use.Commit, "error", err)
		r.Abort()
	}
	return nil
}

// maxHead bounds the first line of a layer.
const maxHead = 64 << 10

// takeLayer makes a layer of what sendLayer has written, in this container or another one.
func takeLayer(d *Daemon, r *request) error {
	ctx, answer := r.Context(), new(wire.Prepared)
	most, err := strconv.ParseInt(r.query.Get("bytes"), 10, 64)
	if key := r.values["key"]; err != nil || most <= 0 || !isHex(key, 32) {
		return &wire.Error{Code: wire.CodeInvalid, Message: "no key or no bound of a layer"}
	}
	in := bufio.NewReaderSize(r, maxHead)
	head, err := readHead(in)
	if err != nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: err.Error()}
	}
	if answer.Unshared = d.checkouts.shared(ctx); answer.Unshared != "" {
		return writeJSON(r, answer)
	}
	if err := d.prepared.turn.enter(ctx); err != nil {
		return err
	}
	defer d.prepared.turn.leave()
	target, err := targetOf(d.mirror, r)
	if err != nil {
		return err
	}
	if target.Commit == "" || !d.prepared.fits(ctx, head, target) {
		return writeJSON(r, answer)
	}
	begun, name := time.Now(), d.prepared.name(r.values["key"], head.Commit)
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	answer.Bytes, err = d.prepared.layers.PutMade(name, string(text), func(to string) (int64, error) {
		o := layer.Options{Plain: true, Owner: &layer.Owner{UID: room.LayerUID, GID: room.LayerUID}, Limits: layer.Limits{Bytes: most}}
		totals, err := layer.Unpack(ctx, to, in, o)
		if err != nil {
			return 0, err
		}
		const block = 4096
		return totals.Bytes + int64(totals.Entries)*block, os.Chown(to, 0, 0)
	})
	if err != nil {
		return &wire.Error{Code: wire.CodeInternal, Message: "the layer cannot be unpacked: " + err.Error()}
	}
	answer.Commit, answer.Made, answer.Key, answer.Took = head.Commit, true, r.values["key"], time.Since(begun)
	d.Log.Info("a prepared layer has come from a store", "commit", head.Commit, "bytes", answer.Bytes, "took", answer.Took.Round(time.Millisecond))
	d.prepared.evict(maxPrepared)
	answer.Size = d.mirror.Size() + d.caches.Size() + d.prepared.layers.Size()
	return writeJSON(r, answer)
}

// targetOf returns what the branch of a request is.
func targetOf(m *mirror.Mirror, r *request) (mirror.Target, error) {
	refs, leave, err := m.Enter(true)
	if err != nil {
		return mirror.Target{}, err
	}
	defer leave()
	return m.Resolve(r.Context(), refs, r.query.Get("branch"))
}

// readHead reads the first line of a layer, which may come from anybody.
func readHead(in *bufio.Reader) (head base, err error) {
	line, err := in.ReadSlice('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = json.Unmarshal(line, &head)
	}
	if err != nil {
		return head, fmt.Errorf("what the layer was made of cannot be read: %w", err)
	}
	if !isHex(head.Commit, 40) && !isHex(head.Commit, 64) {
		return head, fmt.Errorf("the layer was made of %.80q, which is no commit", head.Commit)
	}
	if at, reason := wire.CheckCaches(wire.PreparedDirs(head.Dirs)); reason != "" || len(head.Dirs) > wire.MaxPrepareDirs {
		return head, fmt.Errorf("directory %d of the layer: %s", at, reason)
	}
	return head, nil
}

// isHex reports whether a text has n hexadecimal digits.
func isHex(text string, n int) bool {
	return len(text) == n && strings.Trim(text, "0123456789abcdef") == ""
}

package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// layers keeps prepared layers in a store of snapshots, so that another instance need not run the commands. It is a part of a
// Manager. Whatever goes wrong with it, workspaces are prepared as without a store.
type layers struct {
	store SnapshotStore // nil = there is none

	mu     sync.Mutex           // protects absent
	absent map[string]time.Time // names that the store did not have, and when it was asked
}

// askAgain is after how long a store is asked again for a layer that it did not have.
const askAgain = 10 * time.Minute

var layerAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// layerName is the name of the newest layer of a key. Sessions that share nothing share no layer.
func layerName(of naming.Key, key string) SnapshotName {
	text := []byte("berth layer 1")
	for _, field := range []string{of.Repository.Host, of.Repository.Path, of.Repository.Login, of.Scope} {
		text = binary.AppendUvarint(text, uint64(len(field)))
		text = append(text, field...)
	}
	sum := sha256.Sum256(text)
	return SnapshotName{Kind: SnapshotLayer, Key: strings.ToLower(layerAlphabet.EncodeToString(sum[:])[:26]) + "." + key}
}

// keeps reports whether layers of a container are in the store. Those of a private one go with it.
func (l *layers) keeps(c store.Container) bool { return l.store != nil && !c.SharingKey.Private() }

// KeepsLayers reports whether prepared layers of a sharing key are in Config.Snapshots, so that there may be one though nothing is prepared.
func (w *workspaces) KeepsLayers(of naming.Key) bool {
	return w.kept.keeps(store.Container{SharingKey: of})
}

// lacks reports whether the store had no such layer a short time ago.
func (l *layers) lacks(name SnapshotName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked, ok := l.absent[name.Key]
	return ok && time.Since(asked) < askAgain
}

func (l *layers) note(name SnapshotName, absent bool) {
	const most = 10_000
	l.mu.Lock()
	defer l.mu.Unlock()
	if !absent {
		delete(l.absent, name.Key)
		return
	}
	if l.absent == nil || len(l.absent) >= most {
		l.absent = make(map[string]time.Time)
	}
	l.absent[name.Key] = time.Now()
}

// fetchLayer brings the layer for a preparation from the store to a container that has none.
func (w *workspaces) fetchLayer(ctx context.Context, c store.Container, inside Inside, p agent.Preparation, attrs []any) {
	if !w.kept.keeps(c) {
		return
	}
	p.Look = true
	there, err := inside.Prepare(ctx, p, nil)
	if err != nil || there.Commit != "" || there.Key == "" || there.Unshared != "" {
		return // the preparation says why
	}
	name := layerName(c.SharingKey, there.Key)
	if w.kept.lacks(name) {
		return
	}
	content, _, err := w.kept.store.Open(ctx, name)
	if errors.Is(err, ErrNoSnapshot) {
		w.kept.note(name, true)
		return
	}
	var made agent.Prepared
	if err == nil {
		made, err = inside.PutLayer(ctx, agent.Offer{Key: there.Key, Branch: p.Branch, MaxBytes: p.Prepare.MaxBytes}, content)
		content.Close()
	}
	m := w.m
	switch {
	case errors.Is(err, agent.ErrGone), errors.Is(err, agent.ErrClosed), errors.Is(err, errors.ErrUnsupported), ctx.Err() != nil:
	case err != nil:
		m.failures.Report("cannot take a prepared layer from Config.Snapshots", err, attrs...)
	case made.Made:
		w.fetched.Add(1)
		m.cfg.Logger.Info("a workspace is prepared from Config.Snapshots", append(attrs, "commit", made.Commit, "bytes", made.Bytes, "took", made.Took)...)
		m.cfg.OnPrepared(c, Prepared{Commit: made.Commit, Took: made.Took, Bytes: made.Bytes, Stored: true})
		grown(ctx, m, c, made.Size, attrs)
	}
}

// keepTime bounds the storing of a layer.
const keepTime = 30 * time.Minute

// keepLayer stores a layer that was made.
func (w *workspaces) keepLayer(ctx context.Context, c store.Container, inside Inside, made agent.Prepared, attrs []any) {
	if !w.kept.keeps(c) || made.Key == "" {
		return
	}
	r, stream := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := inside.Layer(ctx, made.Key, made.Commit, stream)
		stream.CloseWithError(err) // nil = the end
		sent <- err
	}()
	name := layerName(c.SharingKey, made.Key)
	_, err := w.kept.store.Put(ctx, name, r)
	r.CloseWithError(io.ErrClosedPipe)
	if failed := <-sent; err == nil {
		err = failed
	}
	switch m := w.m; {
	case err == nil:
		w.kept.note(name, false)
	case errors.Is(err, agent.ErrGone), errors.Is(err, agent.ErrClosed), errors.Is(err, agent.ErrNoLayer), errors.Is(err, errors.ErrUnsupported), m.ctx.Err() != nil:
	default:
		m.failures.Report("cannot keep a prepared layer in Config.Snapshots", fmt.Errorf("%s: %w", name, err), attrs...)
	}
}

package fake

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/berth-go/berth/agent"
)

// packedLayer is a prepared layer as Layer writes it. The real agent writes something else.
type packedLayer struct {
	Layer    int // 1
	Commit   string
	Branch   string
	Standard bool
	Checkout *packedNode
	Dirs     map[string]*packedNode
}

// packedNode is a file of any type.
type packedNode struct {
	Mode   fs.FileMode
	Mtime  time.Time
	Data   []byte                 `json:",omitempty"`
	Target string                 `json:",omitempty"`
	Below  map[string]*packedNode `json:",omitempty"`
}

func packNode(n *inode) *packedNode {
	if n == nil {
		return nil
	}
	packed := &packedNode{Mode: n.mode, Mtime: n.mtime, Data: n.data, Target: n.target}
	if n.below != nil {
		packed.Below = make(map[string]*packedNode)
	}
	for name, below := range n.below {
		packed.Below[name] = packNode(below)
	}
	return packed
}

func (p *packedNode) node() *inode {
	if p == nil {
		return nil
	}
	n := &inode{mode: p.Mode, mtime: p.Mtime, data: p.Data, target: p.Target}
	if p.Mode.IsDir() {
		n.below = make(map[string]*inode)
	}
	for name, below := range p.Below {
		n.below[name] = below.node()
	}
	return n
}

// shortKey is the Key that callers see of what decides.
func shortKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}

// Layer writes the layer of a key and a commit.
func (p preparer) Layer(ctx context.Context, key, commit string, w io.Writer) error {
	i := p.by
	reply, err := i.begin(ctx, ReadLayer, "", i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return err
	}
	text, err := p.packLayer(key, commit)
	if err = i.finish(ctx, reply, err); err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

func (p preparer) packLayer(key, commit string) ([]byte, error) {
	n := p.by.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := p.by.alive(); err != nil {
		return nil, err
	}
	for _, one := range slices.Backward(p.by.container.mirror.prepared) {
		if shortKey(one.key) != key || one.commit != commit {
			continue
		}
		packed := packedLayer{Layer: 1, Commit: one.commit, Branch: one.branch, Standard: one.standard, Checkout: packNode(one.checkout), Dirs: make(map[string]*packedNode)}
		for _, dir := range slices.Sorted(maps.Keys(one.dirs)) {
			packed.Dirs[dir] = packNode(one.dirs[dir])
		}
		return json.Marshal(packed)
	}
	return nil, fmt.Errorf("fake: %w", agent.ErrNoLayer)
}

// PutLayer keeps a layer that Layer has written.
func (p preparer) PutLayer(ctx context.Context, o agent.Offer, r io.Reader) (agent.Prepared, error) {
	i := p.by
	reply, err := i.begin(ctx, WriteLayer, "", i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return agent.Prepared{}, err
	}
	text, err := io.ReadAll(r) // its end verifies it
	var made agent.Prepared
	if err == nil {
		made, err = p.unpackLayer(o, text)
	}
	if err = i.finish(ctx, reply, err); err != nil {
		return agent.Prepared{}, err
	}
	return made, nil
}

func (p preparer) unpackLayer(o agent.Offer, text []byte) (made agent.Prepared, err error) {
	var packed packedLayer
	if json.Unmarshal(text, &packed) != nil || packed.Layer != 1 {
		return made, errors.New("fake: it is no layer")
	}
	if int64(len(text)) > cmp.Or(o.MaxBytes, agent.DefaultPrepareBytes) {
		return made, errors.New("fake: the layer is larger than MaxBytes")
	}
	c, n := p.by.container, p.by.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := p.by.alive(); err != nil {
		return made, err
	}
	m := c.mirror
	if made.Unshared = c.sharesCheckouts(); made.Unshared != "" || !m.whole {
		return made, nil
	}
	branch, commit, err := m.refs.resolve(o.Branch, m.commits)
	if err != nil {
		return made, err
	}
	key, known := m.keys[o.Key]
	follows := packed.Standard || packed.Branch != "" && packed.Branch == branch
	if !known || packed.Commit != commit && !(follows && n.engine.remotes.leads(m.url, packed.Commit, commit)) {
		return made, nil
	}
	if n.full {
		return made, errors.New("fake: no space left on device")
	}
	layer := &prepared{key: key, commit: packed.Commit, branch: packed.Branch, standard: packed.Standard, checkout: packed.Checkout.node(), dirs: make(map[string]*inode)}
	for dir, below := range packed.Dirs {
		layer.dirs[dir] = below.node()
	}
	m.add(layer)
	made = agent.Prepared{
		Commit: layer.commit, Made: true, Took: 1, Bytes: preparedSize, Key: o.Key,
		Size: m.size + int64(len(m.caches))*cacheSize + int64(len(m.prepared))*preparedSize,
	}
	return made, nil
}

// add keeps a layer in place of one that was there for the same commit. The caller holds the node's mu.
func (m *mirror) add(layer *prepared) {
	m.prepared = slices.DeleteFunc(m.prepared, func(old *prepared) bool { return old.name() == layer.name() })
	delete(m.failed, layer.name())
	m.prepared = append(m.prepared, layer)
	m.prepared = m.prepared[max(0, len(m.prepared)-preparedLayers):]
}

package admission

import (
	"maps"
	"slices"
	"sync"

	"github.com/berth-go/berth/store"
)

// cache is what this process knows of the queue. With it, the queue is not read as a whole each time that a session joins
// or leaves. The pool's record numbers the changes of the queue. The cache applies the changes of this process in their
// order. When another process has made a change, the queue is read again.
type cache struct {
	mu    sync.Mutex               // protects what follows
	seq   uint64                   // the last change that is in all
	all   queued                   // nil = the queue is not known
	later map[uint64]func(*queued) // changes that wait for one before them
}

// maxLater bounds the changes that wait. Beyond it, the queue is read again.
const maxLater = 100

// queued are the sessions that wait, in the order of arrival.
type queued []waiting

func (q *queued) add(w waiting) {
	if i, there := slices.BinarySearchFunc(*q, w, waiting.compare); !there { // most come last
		*q = slices.Insert(*q, i, w)
	}
}

func (q *queued) remove(w waiting) {
	if i, there := slices.BinarySearchFunc(*q, w, waiting.compare); there {
		*q = slices.Delete(*q, i, i+1)
	}
}

// known returns the queue as of change seq, if the cache has it.
func (c *cache) known(seq uint64) ([]waiting, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || c.seq != seq {
		return nil, false
	}
	return slices.Clone(c.all), true
}

// set records the queue as it was read, as of change seq.
func (c *cache) set(seq uint64, queue []waiting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all != nil && c.seq > seq { // a later one was read meanwhile
		return
	}
	c.seq, c.all = seq, append(queued{}, queue...) // which is not nil
	c.catchUp()
}

// added records that a session joined the queue as change seq. seq 0 means nothing changed.
func (c *cache) added(seq uint64, s *store.Session) {
	if seq != 0 {
		w := waitingOf(s)
		c.change(seq, func(q *queued) { q.add(w) })
	}
}

// removed records that a session left the queue as change seq. seq 0 means nothing changed.
func (c *cache) removed(seq uint64, s *store.Session) {
	if seq != 0 {
		w := waitingOf(s)
		c.change(seq, func(q *queued) { q.remove(w) })
	}
}

func (c *cache) change(seq uint64, do func(*queued)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || seq <= c.seq {
		return
	}
	if c.later == nil {
		c.later = make(map[uint64]func(*queued))
	}
	c.later[seq] = do
	c.catchUp()
	if len(c.later) > maxLater {
		c.all, c.later = nil, nil
	}
}

// catchUp applies the changes whose turn it is. The caller holds mu.
func (c *cache) catchUp() {
	for do := c.later[c.seq+1]; do != nil; do = c.later[c.seq+1] {
		c.seq++
		do(&c.all)
		delete(c.later, c.seq)
	}
	maps.DeleteFunc(c.later, func(seq uint64, _ func(*queued)) bool { return seq <= c.seq })
}

// joinQueue counts a session in on the pool's record, and returns the number of this change.
func joinQueue(tx store.Tx, record *store.Pool) (seq uint64, err error) {
	record.Queued++
	record.QueueSeq++
	return record.QueueSeq, tx.Put(record)
}

// leaveQueue counts a session out, and returns the number of this change.
func leaveQueue(tx store.Tx, record *store.Pool) (seq uint64, err error) {
	record.Queued--
	record.QueueSeq++
	return record.QueueSeq, tx.Put(record)
}

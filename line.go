package berth

import (
	"maps"
	"slices"
	"sync"

	"github.com/berth-go/berth/store"
)

// line is what this process knows of the queue, so that it is not read as a whole each time that one comes or goes. The
// pool's record counts the changes of the queue: those of this process are applied in their order, and when another
// process has made one, all is read again.
type line struct {
	mu    sync.Mutex               // protects what follows
	seq   uint64                   // the last change that is in it
	all   queued                   // nil = it is not known
	later map[uint64]func(*queued) // changes that wait for one before them
}

// maxLater bounds the changes that wait: then it is sooner read anew.
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

// known returns the queue as of a change, if that is what is known.
func (l *line) known(seq uint64) ([]waiting, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil || l.seq != seq {
		return nil, false
	}
	return slices.Clone(l.all), true
}

// read notes the queue as it was read, as of a change.
func (l *line) read(seq uint64, queue []waiting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all != nil && l.seq > seq { // somebody has read a later one
		return
	}
	l.seq, l.all = seq, append(queued{}, queue...) // which is not nil
	l.catchUp()
}

// came notes that a session has joined the queue, which was the change of that number, 0 if there was none; went that one
// has left it.
func (l *line) came(seq uint64, s *store.Session) {
	if seq != 0 {
		w := waitingOf(s)
		l.change(seq, func(q *queued) { q.add(w) })
	}
}

func (l *line) went(seq uint64, s *store.Session) {
	if seq != 0 {
		w := waitingOf(s)
		l.change(seq, func(q *queued) { q.remove(w) })
	}
}

func (l *line) change(seq uint64, do func(*queued)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil || seq <= l.seq {
		return
	}
	if l.later == nil {
		l.later = make(map[uint64]func(*queued))
	}
	l.later[seq] = do
	l.catchUp()
	if len(l.later) > maxLater {
		l.all, l.later = nil, nil
	}
}

// catchUp applies the changes whose turn it is. The caller holds mu.
func (l *line) catchUp() {
	for do := l.later[l.seq+1]; do != nil; do = l.later[l.seq+1] {
		l.seq++
		do(&l.all)
		delete(l.later, l.seq)
	}
	maps.DeleteFunc(l.later, func(seq uint64, _ func(*queued)) bool { return seq <= l.seq })
}

// joinQueue and leaveQueue change the pool's record with the queue. Each returns the number of the change, for line.
func joinQueue(tx store.Tx, record *store.Pool) (seq uint64, err error) {
	record.Queued++
	record.QueueSeq++
	return record.QueueSeq, tx.Put(record)
}

func leaveQueue(tx store.Tx, record *store.Pool) (seq uint64, err error) {
	record.Queued--
	record.QueueSeq++
	return record.QueueSeq, tx.Put(record)
}

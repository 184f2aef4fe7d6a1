package memstore

import (
	"github.com/tidwall/btree"

	"github.com/berth-go/berth/store"
)

// kinds is more than the highest kind of record.
const kinds = int(store.KindDemand) + 1

// data holds every record, an index of the newest versions, and the older versions that running Views see.
//
// Commits are numbered. A View sees the records as of one commit: the last version of each record that is not newer. The index
// has only the newest versions. replaced lists the records that have changed since a View's commit, by which the View corrects
// the index's results.
type data struct {
	records [kinds]map[string]*row // by kind and ID
	rows    []*row                 // the same by their numbers; nil: the number is free
	free    []uint32               // numbers that are free
	index   *btree.BTreeG[entry]
	seq     uint64   // of the last commit
	views   []uint64 // the commits that running Views see, ascending; one entry per View

	// changed lists the rows whose index entries are out of date. The index is updated when a query needs it, or when there are
	// many such rows. So a session that is created, activated and ended meanwhile moves once.
	changed []*row

	// replaced lists the writes that left an older version behind, because a View saw it, in the order of seq.
	replaced []write

	undo []change // empty; the next Update makes its list in it
}

// row is a record, with the older versions that a View sees.
type row struct {
	key     store.Key
	version              // the newest, changed in place
	indexed store.Record // as the index shows it, if it is among the changed
	changed bool
	number  uint32 // names the row in the index
}

// version is a record as one commit left it.
type version struct {
	record store.Record // never changed, only replaced; nil: there is none
	seq    uint64
	older  *version // nil if no View sees it
}

// write says that a commit wrote a row.
type write struct {
	seq uint64
	row *row
}

const (
	// degree bounds a node of the index to 2*degree-1 entries.
	degree = 16
	// mostChanged bounds how many rows the index is behind, so that no query waits long for its update.
	mostChanged = 100
	// searched is the number of a row that is no record: its ID is the one at which a search begins.
	searched = 0
)

func newData() *data {
	d := &data{rows: []*row{searched: new(row)}}
	d.index = btree.NewBTreeGOptions(d.less, btree.Options{NoLocks: true, Degree: degree})
	for k := range d.records {
		d.records[k] = map[string]*row{}
	}
	return d
}

// find returns the row of a record, or nil if there is none that anybody sees.
func (d *data) find(key store.Key) *row {
	if int(key.Kind) >= kinds {
		return nil
	}
	return d.records[key.Kind][key.ID]
}

// at returns the record as of commit seq, or nil.
func (r *row) at(seq uint64) store.Record {
	if r == nil {
		return nil
	}
	for v := &r.version; v != nil; v = v.older {
		if v.seq <= seq {
			return v.record
		}
	}
	return nil
}

// put makes record the one of that key in the commit after the last one; nil removes it. It returns the row, and its
// newest version as it was.
func (d *data) put(key store.Key, record store.Record) (r *row, was version) {
	if r = d.records[key.Kind][key.ID]; r == nil {
		r = d.add(key)
	}
	was = r.version
	// A removal is a version too if there is an older one, which it hides.
	if n := len(d.views); n > 0 && was.seq <= d.views[n-1] && (was.record != nil || was.older != nil) {
		kept := was
		r.older = &kept
		d.replaced = append(d.replaced, write{d.seq + 1, r})
	}
	if !r.changed {
		r.changed, r.indexed = true, was.record
		d.changed = append(d.changed, r)
	}
	r.record, r.seq = record, d.seq+1
	return r, was
}

func (d *data) add(key store.Key) *row {
	r := &row{key: key}
	if n := len(d.free); n > 0 {
		r.number, d.free = d.free[n-1], d.free[:n-1]
		d.rows[r.number] = r
	} else {
		r.number = uint32(len(d.rows))
		d.rows = append(d.rows, r)
	}
	d.records[key.Kind][key.ID] = r
	return r
}

// drop forgets a row that says nothing any more.
func (d *data) drop(r *row) {
	if r.record != nil || r.older != nil || r.changed || d.rows[r.number] != r {
		return
	}
	delete(d.records[r.key.Kind], r.key.ID)
	d.rows[r.number] = nil
	d.free = append(d.free, r.number)
}

// settle brings the index up to date.
func (d *data) settle() {
	for _, r := range d.changed {
		d.reindex(r)
		r.changed, r.indexed = false, nil
		d.drop(r)
	}
	clear(d.changed)
	d.changed = d.changed[:0]
}

// reindex replaces the entries of a row's old version with those of its present one.
func (d *data) reindex(r *row) {
	was, is := entriesOf(r.indexed), entriesOf(r.record)
	head := headOf(r.key.ID)
	for i := range was {
		if was[i] == is[i] {
			continue
		}
		if e := was[i]; e.index != none {
			e.head, e.row = head, r.number
			d.index.Delete(e)
		}
		if e := is[i]; e.index != none {
			e.head, e.row = head, r.number
			d.index.Set(e)
		}
	}
}

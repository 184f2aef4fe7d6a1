package memstore

import "slices"

// open lets a View begin, and returns the commit that it sees.
func (d *data) open() uint64 {
	d.views = append(d.views, d.seq)
	return d.seq
}

// release ends a View of that commit, and drops the versions that only this View has seen.
func (d *data) release(seq uint64) {
	i, _ := slices.BinarySearch(d.views, seq)
	d.views = slices.Delete(d.views, i, i+1)
	oldest := d.seq
	if len(d.views) > 0 {
		oldest = d.views[0]
	}
	n := d.since(oldest)
	for _, w := range d.replaced[:n] {
		w.row.forget(oldest)
		d.drop(w.row)
	}
	d.replaced = slices.Delete(d.replaced, 0, n)
}

// since returns where in replaced the writes after commit seq begin.
func (d *data) since(seq uint64) int {
	i, _ := slices.BinarySearchFunc(d.replaced, seq+1, func(w write, seq uint64) int {
		if w.seq < seq {
			return -1
		}
		return 1
	})
	return i
}

// forget drops the versions of a row that no View of commit oldest or of a later one sees.
func (r *row) forget(oldest uint64) {
	for v := &r.version; v != nil; v = v.older {
		if v.seq <= oldest {
			v.older = nil
		}
	}
}

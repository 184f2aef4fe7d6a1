package daemon

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/pause"
	"github.com/berth-go/berth/agent/internal/place"
)

const (
	// lookEvery is how often the meter asks the file system how much of it is used.
	lookEvery = 500 * time.Millisecond
	// walkEvery is how often a directory is walked that has no session that may be over its limit, if the file system has grown.
	walkEvery = 5 * time.Minute
	// walkers is how many directories are measured at once: one of many files must not hold up the others.
	walkers = 3
	// share bounds the part of the time that walks take: the next walk of a directory begins share times as long after the last one
	// as that took, and a walk without haste sleeps share times as long as it works.
	share = 10
	// maxCuts is after how many walks in haste, one after another, a session is ended whose files were moved out of the walks' sight.
	maxCuts = 3
	// slack is by which part a session may measure more than its limit if the file system bounds the session, too. A session
	// that measures still more has got around that bound, and is ended.
	slack = 0.125
)

// A meter measures what sessions have on the disk, and ends those that have more than they may.
//
// A walk through all files costs much, so the meter makes one only when a session may be over its limit. It sums up by how much the
// whole file system has grown from each look to the next. A session has hardly grown by more than that sum. As long as the sum since its
// last walk and the result of that walk are together less than its limit, it needs no other walk.
type meter struct {
	places *place.Places
	limit  place.Usage // of each session. 0 = none
	roomed bool
	open   func() []*session
	end    func(ctx context.Context, s *session, reason string)

	last   syscall.Statfs_t // of the last look, or from before the first session
	gone   place.Usage      // what the agent had removed at the last look
	growth place.Usage      // of the whole file system: what it grew from one look to the next, summed up

	mu    sync.Mutex // protects what follows
	tops  map[string]*measured
	walks sync.WaitGroup
}

// measured is what is known of a directory.
type measured struct {
	usage   map[int]place.Usage // by the last walk, of each owner
	known   bool                // there was one
	before  place.Usage         // the growth when it began, or at the look before the directory was first seen
	at      time.Time           // when it ended, or when the directory was first seen
	took    time.Duration
	entries int
	cuts    int // walks in a row that were cut
	walking bool
	suspect *session // the last walk found this one over its limit: the next one must confirm it
}

// run measures until ctx ends.
func (m *meter) run(ctx context.Context) {
	defer m.walks.Wait()
	if m.limit == (place.Usage{}) {
		return
	}
	for pause.Sleep(ctx, lookEvery) == nil {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(m.places.Root, &fs); err != nil {
			continue
		}
		for _, w := range m.look(fs, m.places.Removed.Usage(), time.Now()) {
			m.walks.Go(func() { m.walk(ctx, w) })
		}
	}
}

// look returns the walks to begin now. gone is what the agent has removed until fs was read, or more. What a session wrote between its opening and the first look that sees it is part of the
// growth since the look before, so the growth of a new directory counts from there. A session that opens after m.open is seen
// by the next look, and writes after this one.
func (m *meter) look(fs syscall.Statfs_t, gone place.Usage, at time.Time) []walk {
	before := m.growth
	m.grow(fs, gone)
	sessions := m.open()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note(sessions, before, at)
	return m.plan(sessions, float64(fs.Bavail)*float64(fs.Bsize), at)
}

// grow adds to the growth by how much the file system has grown since the last look. The files that the agent has removed since then, of
// ended sessions, count as growth: they may hide as much of it. What sessions themselves removed since then hides growth; what they
// removed earlier hides none.
func (m *meter) grow(fs syscall.Statfs_t, gone place.Usage) {
	was, is := used(m.last), used(fs)
	m.growth.Bytes += max(is.Bytes-was.Bytes+gone.Bytes-m.gone.Bytes, 0)
	m.growth.Files += max(is.Files-was.Files+gone.Files-m.gone.Files, 0)
	m.last, m.gone = fs, gone
}

// A walk is a walk that is due.
type walk struct {
	dir   string
	haste bool
	was   place.Usage // the growth when it begins
	*measured
}

// plan chooses the walks to begin now. free is what may still be written, in bytes. The lock is held.
func (m *meter) plan(sessions []*session, free float64, at time.Time) (begin []walk) {
	now, busy := m.growth, 0
	var all []walk
	for dir, d := range m.tops {
		if d.walking {
			busy++
			continue
		}
		grown := place.Usage{Bytes: now.Bytes - d.before.Bytes, Files: now.Files - d.before.Files}
		haste := d.suspect != nil || m.mayBeOver(sessions, dir, d, grown)
		rest := share * d.took
		switch {
		case d.suspect != nil:
			rest = 0
		case haste && 4*grown.Bytes > free: // it may be full before long
			rest = d.took
		case !haste && grown == place.Usage{} && d.known:
			continue
		case !haste:
			rest = max(2*rest, walkEvery)
		}
		if at.Sub(d.at) >= rest {
			all = append(all, walk{dir, haste, now, d})
		}
	}
	// The small directories first: their walks take little time, and may find the session that is over its limit.
	slices.SortFunc(all, func(a, b walk) int {
		return cmp.Or(compare(b.haste, a.haste), cmp.Compare(a.entries, b.entries), cmp.Compare(a.dir, b.dir))
	})
	for _, w := range all {
		if busy++; busy > walkers || !w.haste && busy > 1 {
			break
		}
		w.walking = true
		begin = append(begin, w)
	}
	return begin
}

func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// note remembers the directories of new sessions, and forgets those of old ones. The lock is held.
func (m *meter) note(sessions []*session, before place.Usage, at time.Time) {
	if m.tops == nil {
		m.tops = make(map[string]*measured)
	}
	wanted := make(map[string]bool)
	for _, s := range sessions {
		wanted[m.places.Top(s.ID)] = true
	}
	if !m.roomed && len(sessions) > 0 {
		for _, dir := range m.places.Shared {
			wanted[dir] = onDisk(dir)
		}
	}
	for dir, want := range wanted {
		if want && m.tops[dir] == nil {
			m.tops[dir] = &measured{before: before, at: at}
		}
	}
	maps.DeleteFunc(m.tops, func(dir string, d *measured) bool { return !wanted[dir] && !d.walking })
}

// onDisk reports whether files in a directory take space on a disk.
func onDisk(dir string) bool {
	const tmpfs, proc, mqueue = 0x01021994, 0x9fa0, 0x19800202
	var fs syscall.Statfs_t
	return syscall.Statfs(dir, &fs) == nil && fs.Type != tmpfs && fs.Type != proc && fs.Type != mqueue
}

// mayBeOver reports whether a session may have too much in a directory, if all that the file system has grown by since the last
// walk is there. The lock is held.
func (m *meter) mayBeOver(sessions []*session, dir string, d *measured, grown place.Usage) bool {
	for _, s := range sessions {
		total := m.total(s.UID)
		if !d.known { // nothing is known of it but that it was made within the limits of a checkout
			total.Bytes, total.Files = total.Bytes+m.limit.Bytes/2, total.Files+m.limit.Files/2
		}
		if m.roomed && dir != m.places.Top(s.ID) {
			continue
		}
		total.Bytes, total.Files = total.Bytes+max(grown.Bytes, 0), total.Files+max(grown.Files, 0)
		if over(total, m.limitOf(s)) != "" {
			return true
		}
	}
	return false
}

// limitOf returns what a session may have by the measure.
func (m *meter) limitOf(s *session) place.Usage {
	limit := m.limit
	if s.quota {
		limit.Bytes, limit.Files = limit.Bytes*(1+slack), limit.Files*(1+slack)
	}
	return limit
}

// total returns what a uid has in all directories by their last walks. The lock is held.
func (m *meter) total(uid int) (sum place.Usage) {
	for _, d := range m.tops {
		u := d.usage[uid]
		sum.Bytes, sum.Files = sum.Bytes+u.Bytes, sum.Files+u.Files
	}
	return sum
}

// walk measures a directory, and ends the session that has too much.
func (m *meter) walk(ctx context.Context, w walk) {
	began := time.Now()
	var guilty *session
	var reason string
	p := pacer{last: began, haste: w.haste}
	measuring := &place.Measuring{}
	look := func() { guilty, reason = m.judge(w, measuring.Usage) }
	measuring.Step = func() bool {
		if look(); guilty != nil {
			return false
		}
		return p.pace(ctx) == nil
	}
	if measuring.Measure(ctx, w.dir) != nil {
		measuring.Usage = nil // what was known before is better than a part
	} else if guilty == nil {
		m.addUnlinked(ctx, w, measuring.Usage)
		look()
	}
	m.mu.Lock()
	w.walking = false
	w.took, w.at, w.entries = p.worked(), time.Now(), measuring.Entries
	confirmed := guilty != nil && w.suspect == guilty
	w.suspect = guilty
	if measuring.Usage != nil && guilty == nil { // a walk that was ended early knows nothing of the others
		w.usage, w.known, w.before = measuring.Usage, true, w.was
	}
	if !measuring.Cut {
		w.cuts = 0
	} else if w.haste {
		w.cuts++
	}
	cut := w.cuts >= maxCuts
	m.mu.Unlock()
	if cut && guilty == nil {
		for _, s := range m.open() {
			if w.dir == m.places.Top(s.ID) {
				guilty, confirmed = s, true
				reason = "disk: its deepest directories are moved while their size is measured"
			}
		}
	}
	if confirmed {
		m.end(ctx, guilty, reason)
	}
}

// addUnlinked adds the removed files that a session in a room still has open. With a quota the file system counts them itself.
func (m *meter) addUnlinked(ctx context.Context, w walk, found map[int]place.Usage) {
	for _, s := range m.open() {
		if s.room != nil && !s.quota && w.dir == m.places.Top(s.ID) {
			u := found[s.UID]
			u.Bytes += float64(s.room.Unlinked(ctx))
			found[s.UID] = u
		}
	}
}

// judge returns the session that has too much with what a walk has found until now, and how much.
func (m *meter) judge(w walk, found map[int]place.Usage) (guilty *session, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.open() {
		total, before, now := m.total(s.UID), w.usage[s.UID], found[s.UID]
		total.Bytes, total.Files = total.Bytes-before.Bytes+now.Bytes, total.Files-before.Files+now.Files
		if over(total, m.limitOf(s)) != "" {
			return s, over(total, m.limit)
		}
	}
	return nil, ""
}

// A pacer makes a walk without haste slow, so that it takes little of the processors and of the disk.
type pacer struct {
	last  time.Time
	began time.Duration
	haste bool
}

func (p *pacer) pace(ctx context.Context) error {
	worked := time.Since(p.last)
	p.began += worked
	if !p.haste && worked > 0 {
		if err := pause.Sleep(ctx, min(share*worked, time.Second)); err != nil {
			return err
		}
	}
	p.last = time.Now()
	return ctx.Err()
}

// worked returns how long the walk has worked.
func (p *pacer) worked() time.Duration { return p.began + time.Since(p.last) }

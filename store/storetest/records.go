package storetest

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

var recordCases = []testCase{
	{"every kind is tested", everyKindIsTested},
	{"every field comes back, times to the microsecond", everyFieldComesBack},
	{"an empty record comes back", emptyComesBack},
	{"the largest and smallest numbers come back", extremesComeBack},
	{"any text comes back", anyTextComesBack},
	{"an ID may be any text", anyTextIsAnID},
	{"what Get and queries return is the caller's own", resultIsOwn},
	{"a record may be changed after Put", argumentIsOwn},
}

func everyKindIsTested(t *testing.T, _ *handle) {
	seen := map[store.Kind]bool{}
	for _, r := range everyKind() {
		seen[r.Key().Kind] = true
	}
	for k := store.Kind(1); !strings.HasPrefix(k.String(), "kind("); k++ {
		if !seen[k] {
			t.Errorf("no record of kind %s in this suite", k)
		}
	}
}

// comesBack puts a record and reads it in every way.
func (h *handle) comesBack(r store.Record) {
	h.t.Helper()
	h.put(r)
	h.holds([]store.Key{r.Key()}, r)
	h.update(func(tx store.Tx) error {
		got, err := getSame(tx, "Tx.Get", r)
		if err != nil {
			return err
		}
		return tx.Put(got) // once more around
	}, r.Key())
	h.view(func(v store.View) error {
		for _, got := range found(h.t, v, r.Key()) {
			requireSame(h.t, "a query", got, r)
		}
		return nil
	})
}

// found returns the record of a key as the queries return it. It returns nil for a kind without queries.
func found(t testing.TB, v store.View, key store.Key) []store.Record {
	t.Helper()
	var all []store.Record
	instances, err1 := v.Instances(store.InstanceQuery{})
	containers, err2 := v.Containers(store.ContainerQuery{})
	sessions, err3 := v.Sessions(store.SessionQuery{})
	usage, err4 := v.Usage(store.UsageQuery{})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatalf("query: %v", err)
	}
	for _, r := range instances {
		all = append(all, r)
	}
	for _, r := range containers {
		all = append(all, r)
	}
	for _, r := range sessions {
		all = append(all, r)
	}
	for _, r := range usage {
		all = append(all, r)
	}
	var those []store.Record
	for _, r := range all {
		if r.Key() == key {
			those = append(those, r)
		}
	}
	queried := slices.Contains([]store.Kind{store.KindInstance, store.KindContainer, store.KindSession, store.KindUsage}, key.Kind)
	if queried && len(those) != 1 {
		t.Fatalf("a query for all returned %s %d times", key, len(those))
	}
	return those
}

func everyFieldComesBack(_ *testing.T, h *handle) {
	for i, like := range everyKind() {
		h.comesBack(filled(like, i))
		h.comesBack(filled(like, i+100))
	}
}

func emptyComesBack(_ *testing.T, h *handle) {
	for _, r := range []store.Record{
		&store.Pool{}, &store.Instance{ID: "a"}, &store.Sharing{ID: "a"}, &store.Mirrors{Instance: "a"},
		&store.Container{ID: "a"}, &store.Session{ID: "a"}, &store.Task{ID: "a"}, &store.Lease{ID: "a"}, &store.User{ID: "a"},
		&store.Usage{ID: "a"}, &store.Ledger{}, &store.Warmth{}, &store.Demand{},
	} {
		h.comesBack(r)
	}
}

func extremesComeBack(_ *testing.T, h *handle) {
	h.comesBack(&store.Lease{ID: "a", Fence: math.MaxInt64, Beat: math.MaxInt64, Term: math.MaxInt64})
	h.comesBack(&store.Session{ID: "a", IdleTimeout: -1, UID: math.MaxInt32})
	in := &store.Instance{ID: "a", Slots: math.MaxInt32, Sessions: -1, Frozen: []byte{0, 1, 0xfe, 0xff}}
	in.UIDs.Used = []uint64{math.MaxUint64, 0, 1 << 63}
	h.comesBack(in)
	for _, when := range []time.Time{
		time.Unix(0, 0), time.Date(1970, 1, 1, 0, 0, 0, 1000, time.UTC), time.Date(2000, 1, 1, 0, 0, 0, 999_999_999, time.UTC),
		time.Date(2200, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	} {
		h.comesBack(&store.Session{ID: "a", State: store.SessionActive, CreatedAt: when, LeaseUntil: when, EndedAt: when})
	}
}

// texts has texts that a careless store would change or refuse.
var texts = []string{
	`'; DROP TABLE sessions; --`, `"quoted"`, `back\slash`, `\u0041`, "tab\tnewline\nreturn\r", " around ", "100%_*?", "$1 :a @b ?",
	"Größe", "e\u0301 \u00e9", "\u202eright to left", "line\u2028separator", "🚢", "\U0010ffff", "\ufffd", "\ufeffmark", "\x01\x1f\x7f", "<b>&amp;</b>",
	`{"a":1}`, "null", "{}", "NULL", "0", "-", "--", "a/b", "../..", "ﬁ", "İı", "ß",
}

func anyTextComesBack(_ *testing.T, h *handle) {
	for i, text := range append(texts, strings.Repeat("long ", 100)) {
		for _, like := range everyKind() {
			n := 0
			r := fillWith(like, i, func(int) string { n++; return text + strings.Repeat("+", n) })
			h.comesBack(r)
			h.delete(r.Key())
		}
	}
	long := filled(&store.Session{}, 1)
	long.End.Message = strings.Repeat("what git said\n", 5000)
	h.comesBack(long)
}

func anyTextIsAnID(_ *testing.T, h *handle) {
	var tasks []store.Record
	var sessions []*store.Session
	for i, text := range texts {
		tasks = append(tasks, &store.Task{ID: text, Session: text})
		s := filled(&store.Session{}, i)
		s.ID, s.TaskID, s.UserID, s.Container, s.Instance, s.Owner = text, text, text, text, text, text
		s.Labels = map[string]string{text: text}
		sessions = append(sessions, s)
	}
	h.put(tasks...)
	h.holds(keysOf(tasks), tasks...)
	for _, s := range sessions {
		h.put(s)
	}
	h.agrees(sessions...)
}

func resultIsOwn(t *testing.T, h *handle) {
	for i, like := range everyKind() {
		r := filled(like, i)
		h.put(r)
		key := r.Key()
		h.update(func(tx store.Tx) error {
			for range 2 {
				got, err := getSame(tx, "Tx.Get after its last result was changed", r)
				if err != nil {
					return err
				}
				scramble(got)
			}
			return nil
		}, key)
		h.view(func(v store.View) error {
			for range 2 {
				got, err := getSame(v, "View.Get after its last result was changed", r)
				if err != nil {
					return err
				}
				scramble(got)
				for _, got := range found(t, v, key) {
					requireSame(t, "a query after its last result was changed", got, r)
					scramble(got)
				}
			}
			return nil
		})
		h.holds([]store.Key{key}, r)
	}
}

func argumentIsOwn(_ *testing.T, h *handle) {
	for i, like := range everyKind() {
		want, r := filled(like, i), filled(like, i)
		key := r.Key()
		h.update(func(tx store.Tx) error {
			r = filled(like, i)
			if err := tx.Put(r); err != nil {
				return err
			}
			scramble(r)
			got, err := getSame(tx, "Tx.Get after the argument of Put was changed", want)
			if err != nil {
				return err
			}
			scramble(got)
			return nil
		}, key)
		h.holds([]store.Key{key}, want)
	}
}

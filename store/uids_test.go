package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestUIDsAreASet takes and frees at random and compares with a map.
func TestUIDsAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		uids := UIDs{Base: rapid.SampledFrom([]int{0, MinUID, MinUID + 256, MaxUID - 300}).Draw(t, "base")}
		used := map[int]bool{}
		first := max(uids.Base, MinUID)
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				for range rapid.IntRange(1, 200).Draw(t, "n") {
					uid, err := uids.Take()
					if err != nil {
						t.Fatalf("Take with %d in use: %v", len(used), err)
					}
					if uid < MinUID || uid > MaxUID || used[uid] {
						t.Fatalf("Take returned %d, which is out of range or in use", uid)
					}
					used[uid] = true
				}
			},
			"free": func(t *rapid.T) {
				uid := rapid.IntRange(first-100, first+2000).Draw(t, "uid")
				uids.Free(uid)
				delete(used, uid)
			},
			"free one of two": func(t *rapid.T) {
				for uid := first; uid < first+1000; uid += 2 {
					uids.Free(uid)
					delete(used, uid)
				}
			},
			"store": func(t *rapid.T) {
				text, err := json.Marshal(uids)
				if err != nil {
					t.Fatal(err)
				}
				uids = UIDs{}
				if err := json.Unmarshal(text, &uids); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				uid := rapid.IntRange(MinUID-100, MaxUID+100).Draw(t, "uid")
				if uids.Has(uid) != used[uid] {
					t.Fatalf("Has(%d) is %v", uid, uids.Has(uid))
				}
				if uids.Len() != len(used) {
					t.Fatalf("Len is %d, want %d", uids.Len(), len(used))
				}
			},
		})
	})
}

func TestFreedUIDRests(t *testing.T) {
	var uids UIDs
	for range 10 { // sessions that stay
		take(t, &uids)
	}
	last := map[int]int{}
	for i := range 5000 {
		uid := take(t, &uids)
		if before, again := last[uid]; again && i-before < 64*restingWords-10 {
			t.Fatalf("uid %d came again after %d others", uid, i-before)
		}
		last[uid] = i
		uids.Free(uid)
	}
	if words := len(uids.Used); words != restingWords {
		t.Errorf("the set has %d words for 10 uids in use", words)
	}
}

func TestUIDsRunOut(t *testing.T) {
	uids := UIDs{Base: MinUID + 30*256}
	seen := map[int]bool{}
	for range MaxUID - MinUID + 1 {
		seen[take(t, &uids)] = true
	}
	if len(seen) != 50_001 || uids.Len() != len(seen) {
		t.Fatalf("%d uids in %d takes, Len %d", len(seen), MaxUID-MinUID+1, uids.Len())
	}
	for range 2 {
		if uid, err := uids.Take(); !errors.Is(err, ErrNoUID) {
			t.Fatalf("Take of a full set: %d, %v", uid, err)
		}
	}
	// Wherever the next search begins, the only free one is found.
	for _, uid := range []int{MinUID, MaxUID, MinUID + 63, MinUID + 25_000, MinUID, MaxUID - 1} {
		uids.Free(uid)
		if got := take(t, &uids); got != uid {
			t.Fatalf("Take returned %d, and only %d is free", got, uid)
		}
	}
}

func TestFreeOfAForeignUIDDoesNothing(t *testing.T) {
	var uids UIDs
	uid := take(t, &uids)
	for _, other := range []int{0, -1, MinUID - 1, MinUID - 64, uid + 1, MaxUID, MaxUID + 1, 1 << 40} {
		uids.Free(other)
		if uids.Has(other) {
			t.Errorf("Has(%d)", other)
		}
	}
	if !uids.Has(uid) || uids.Len() != 1 {
		t.Errorf("Has(%d) is %v, Len is %d", uid, uids.Has(uid), uids.Len())
	}
}

func take(t testing.TB, uids *UIDs) int {
	t.Helper()
	uid, err := uids.Take()
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

// TestPoolsHaveUIDsOfTheirOwn takes the uids of many sessions in two pools, as on one engine.
func TestPoolsHaveUIDsOfTheirOwn(t *testing.T) {
	bases := map[int]bool{}
	for i := range 5000 {
		base := UIDBase(fmt.Sprint("pool", i))
		if base < MinUID || base > MaxUID-uidBlock || (base-MinUID)%uidBlock != 0 {
			t.Fatalf("the base %d", base)
		}
		bases[base] = true
	}
	if len(bases) != 195 {
		t.Errorf("5000 pools have %d bases", len(bases))
	}
	one, other := UIDs{Base: UIDBase("one")}, UIDs{Base: UIDBase("other")}
	if one.Base == other.Base || UIDBase("one") != one.Base {
		t.Fatalf("the bases of two pools are %d and %d", one.Base, other.Base)
	}
	seen := map[int]bool{}
	for range 64 * restingWords {
		seen[take(t, &one)] = true
	}
	for range 64 * restingWords {
		if uid := take(t, &other); seen[uid] {
			t.Fatalf("both pools have the uid %d", uid)
		}
	}
}

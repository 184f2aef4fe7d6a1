package privacy

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func newMark(t *testing.T) Mark {
	dir := t.TempDir()
	lock := filepath.Join(dir, "lock")
	if err := os.Mkdir(lock, 0o700); err != nil {
		t.Fatal(err)
	}
	return Mark{Dir: dir, Lock: lock}
}

func TestAMirrorIsPrivateUntilItIsKnownToBeEmpty(t *testing.T) {
	m := newMark(t)
	if !m.Private() {
		t.Error("a mirror of unknown origin is not private")
	}
	if ok, err := m.Guests(true); ok || err != nil {
		t.Errorf("guests of a private mirror: %v, %v", ok, err)
	}
	if err := m.Reset(); err != nil || m.Private() {
		t.Errorf("%v, private: %v", err, m.Private())
	}
	if err := m.Disclose(); err != nil || !m.Private() {
		t.Errorf("%v, private: %v", err, m.Private())
	}
	if err := m.Disclose(); err != nil || !m.Private() {
		t.Errorf("again: %v, private: %v", err, m.Private())
	}
}

func TestGuestsKeepTheCredentialAway(t *testing.T) {
	m := newMark(t)
	if err := m.Reset(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if ok, err := m.Guests(true); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if err := m.Disclose(); !errors.Is(err, ErrGuests) || m.Private() {
		t.Errorf("%v, private: %v", err, m.Private())
	}
	for range 2 {
		if _, err := m.Guests(false); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Disclose(); err != nil || !m.Private() {
		t.Errorf("%v, private: %v", err, m.Private())
	}
}

func TestAMarkThatCannotBeWrittenKeepsTheCredentialAway(t *testing.T) {
	m := newMark(t)
	if err := m.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(m.Lock); err != nil {
		t.Fatal(err)
	}
	if err := m.Disclose(); err == nil {
		t.Error("it was disclosed")
	}
}

// TestGuestsAndADisclosureExcludeEachOther: the first that comes keeps the others out.
func TestGuestsAndADisclosureExcludeEachOther(t *testing.T) {
	for range 200 {
		m := newMark(t)
		if err := m.Reset(); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var guest, disclosed bool
		all.Go(func() { guest, _ = m.Guests(true) })
		all.Go(func() { disclosed = m.Disclose() == nil })
		all.Wait()
		if guest == disclosed || m.Private() != disclosed {
			t.Fatalf("a guest: %v, disclosed: %v, private: %v", guest, disclosed, m.Private())
		}
	}
}

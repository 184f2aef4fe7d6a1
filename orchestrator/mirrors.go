package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// noteMirror stores that an instance holds a mirror, and that the mirror was used at the time now.
func noteMirror(tx store.Tx, instance, name string, size int64, now time.Time) error {
	mirrors, err := store.Find[*store.Mirrors](tx, store.MirrorsKey(instance))
	if err != nil {
		return err
	}
	if mirrors == nil {
		mirrors = &store.Mirrors{Instance: instance}
	}
	// The entries are in the order of their last use, the latest at the end.
	mirrors.Entries = slices.DeleteFunc(mirrors.Entries, func(m store.Mirror) bool { return m.Name == name })
	mirrors.Entries = append(mirrors.Entries, store.Mirror{Name: name, Size: size, UsedAt: now})
	if err := tx.Put(mirrors); err != nil {
		return err
	}
	sharing, err := store.Find[*store.Sharing](tx, store.SharingKey(name))
	if err != nil || sharing == nil {
		return err
	}
	sharing.Mirrors = slices.DeleteFunc(sharing.Mirrors, func(id string) bool { return id == instance })
	sharing.Mirrors = append(sharing.Mirrors, instance)
	return tx.Put(sharing)
}

// touchMirror stores that a mirror was used at the time now, if the instance holds it.
func touchMirror(tx store.Tx, instance, name string, now time.Time) error {
	return resizeMirror(tx, instance, name, -1, now)
}

// resizeMirror does so, and stores a new size unless that is negative.
func resizeMirror(tx store.Tx, instance, name string, size int64, now time.Time) error {
	mirrors, err := store.Find[*store.Mirrors](tx, store.MirrorsKey(instance))
	if err != nil || mirrors == nil {
		return err
	}
	for _, m := range mirrors.Entries {
		if m.Name == name {
			if size < 0 {
				size = m.Size
			}
			return noteMirror(tx, instance, name, size, now)
		}
	}
	return nil
}

// maxMirrors bounds how many mirrors one instance keeps, and so the size of the record that lists them.
const maxMirrors = 256

// unknownSize is the assumed size of a mirror that was found on an engine and not used since.
const unknownSize = 1 << 30

// mirrors evicts mirrors from instances, and makes the store's records of mirrors match the engines.
type mirrors struct {
	store  store.Store
	hosts  *hosts
	budget int64 // Config.MirrorBudget
	log    *slog.Logger
}

// evict removes the least recently used mirrors of an instance until the rest fits MirrorBudget and maxMirrors. A mirror
// that a container uses stays.
func (m *mirrors) evict(ctx context.Context, instance string) error {
	mirrors, err := store.Read[*store.Mirrors](ctx, m.store, store.MirrorsKey(instance))
	if err != nil || mirrors == nil {
		return err
	}
	total, left := int64(0), len(mirrors.Entries)
	for i, e := range mirrors.Entries {
		mirrors.Entries[i].Size = cmp.Or(e.Size, unknownSize)
		total += mirrors.Entries[i].Size
	}
	slices.SortStableFunc(mirrors.Entries, func(a, b store.Mirror) int { return a.UsedAt.Compare(b.UsedAt) })
	for _, e := range mirrors.Entries[:max(len(mirrors.Entries)-1, 0)] {
		if left <= maxMirrors && (total <= m.budget || m.budget < 0) {
			return nil
		}
		h, err := m.hosts.of(ctx, instance)
		if err != nil {
			return err
		}
		switch err := h.RemoveMirror(ctx, e.Name); {
		case errors.Is(err, ErrInUse):
			continue
		case err != nil:
			return err
		}
		m.log.Info("evicted a mirror", "mirror", e.Name, "instance", instance, "bytes", e.Size)
		total -= e.Size
		left--
		if err := m.forget(ctx, instance, e.Name); err != nil {
			return err
		}
	}
	return nil
}

// forget stores that an instance does not hold a mirror any more, unless a container may have made it again since.
func (m *mirrors) forget(ctx context.Context, instance, name string) error {
	keys := []store.Key{store.SharingKey(name), store.MirrorsKey(instance)}
	return m.store.Update(ctx, keys, func(tx store.Tx) error {
		sharing, err := store.Find[*store.Sharing](tx, store.SharingKey(name))
		if err != nil {
			return err
		}
		if sharing != nil {
			there, err := heldOn(tx, sharing, instance)
			if err != nil || there {
				return err
			}
		}
		return dropMirror(tx, instance, name)
	})
}

// dropMirror stores that an instance does not hold a mirror.
func dropMirror(tx store.Tx, instance, name string) error {
	mirrors, err := store.Find[*store.Mirrors](tx, store.MirrorsKey(instance))
	if err != nil || mirrors == nil {
		return err
	}
	sharing, err := store.Find[*store.Sharing](tx, store.SharingKey(name))
	if err != nil {
		return err
	}
	if sharing != nil {
		sharing.Mirrors = slices.DeleteFunc(sharing.Mirrors, func(id string) bool { return id == instance })
		if err := store.PutSharing(tx, sharing); err != nil {
			return err
		}
	}
	mirrors.Entries = slices.DeleteFunc(mirrors.Entries, func(e store.Mirror) bool { return e.Name == name })
	if len(mirrors.Entries) == 0 {
		return tx.Delete(mirrors.Key())
	}
	return tx.Put(mirrors)
}

// adopt stores the mirrors that an engine holds and the store does not have. They count as used when they were made.
func (m *mirrors) adopt(ctx context.Context, instance string, have []Mirror) error {
	for _, found := range have {
		keys := []store.Key{store.SharingKey(found.Name), store.MirrorsKey(instance), store.InstanceKey(instance)}
		err := m.store.Update(ctx, keys, func(tx store.Tx) error {
			in, err := store.Find[*store.Instance](tx, store.InstanceKey(instance))
			if err != nil || in == nil { // gone since the engine was asked: nothing would remove these records
				return err
			}
			mirrors, err := store.Find[*store.Mirrors](tx, store.MirrorsKey(instance))
			if err != nil {
				return err
			}
			if mirrors != nil && slices.ContainsFunc(mirrors.Entries, func(e store.Mirror) bool { return e.Name == found.Name }) {
				return nil
			}
			sharing, err := store.Find[*store.Sharing](tx, store.SharingKey(found.Name))
			if err != nil {
				return err
			}
			if sharing == nil {
				err = tx.Put(&store.Sharing{ID: found.Name, SharingKey: found.Key})
			}
			return cmp.Or(err, noteMirror(tx, instance, found.Name, 0, found.Created))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

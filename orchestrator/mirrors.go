package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// noteMirror stores that an instance holds a mirror, that was used just now.
func noteMirror(tx store.Tx, instance, name string, size int64, now time.Time) error {
	mirrors, err := store.Find[*store.Mirrors](tx, store.MirrorsKey(instance))
	if err != nil {
		return err
	}
	if mirrors == nil {
		mirrors = &store.Mirrors{Instance: instance}
	}
	// The entries are kept in the order of their use, the last one last.
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

// touchMirror stores that a mirror was used until just now, if the instance holds it.
func touchMirror(tx store.Tx, instance, name string, now time.Time) error {
	mirrors, err := store.Find[*store.Mirrors](tx, store.MirrorsKey(instance))
	if err != nil || mirrors == nil {
		return err
	}
	for _, m := range mirrors.Entries {
		if m.Name == name {
			return noteMirror(tx, instance, name, m.Size, now)
		}
	}
	return nil
}

// maxMirrors bounds the mirrors of one instance, and with them the size of the record that lists them.
const maxMirrors = 256

// unknownSize is what a mirror counts for that was found on an engine and not used since.
const unknownSize = 1 << 30

// evict removes the least recently used mirrors of an instance until the rest fits its budget and maxMirrors. One that
// a container uses stays.
func (m *Manager) evict(instance string) {
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.StartTimeout)
	defer cancel()
	err := m.evictOver(ctx, instance)
	if err != nil && !errors.Is(err, errInstanceGone) && m.ctx.Err() == nil {
		m.failed("cannot evict mirrors", err, "instance", instance)
	}
}

func (m *Manager) evictOver(ctx context.Context, instance string) error {
	var mirrors *store.Mirrors
	err := m.cfg.Store.View(ctx, func(v store.View) (err error) {
		mirrors, err = store.Find[*store.Mirrors](v, store.MirrorsKey(instance))
		return err
	})
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
		if left <= maxMirrors && (total <= m.cfg.MirrorBudget || m.cfg.MirrorBudget < 0) {
			return nil
		}
		h, err := m.hostOf(ctx, instance)
		if err != nil {
			return err
		}
		switch err := h.RemoveMirror(ctx, e.Name); {
		case errors.Is(err, ErrInUse):
			continue
		case err != nil:
			return err
		}
		m.cfg.Logger.Info("evicted a mirror", "mirror", e.Name, "instance", instance, "bytes", e.Size)
		total -= e.Size
		left--
		if err := m.forgetMirror(ctx, instance, e.Name); err != nil {
			return err
		}
	}
	return nil
}

// forgetMirror stores that an instance holds a mirror no more, unless a container may have made it anew meanwhile.
func (m *Manager) forgetMirror(ctx context.Context, instance, name string) error {
	keys := []store.Key{store.SharingKey(name), store.MirrorsKey(instance)}
	return m.cfg.Store.Update(ctx, keys, func(tx store.Tx) error {
		mirrors, err := store.Find[*store.Mirrors](tx, store.MirrorsKey(instance))
		if err != nil || mirrors == nil {
			return err
		}
		sharing, err := store.Find[*store.Sharing](tx, store.SharingKey(name))
		if err != nil {
			return err
		}
		if sharing != nil {
			for _, id := range sharing.Containers {
				c, err := store.Find[*store.Container](tx, store.ContainerKey(id))
				if err != nil || c != nil && c.Instance == instance {
					return err
				}
			}
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
	})
}

// adoptMirrors stores the mirrors that an engine holds and the store does not know, as ones that were used when they
// were made.
func (m *Manager) adoptMirrors(ctx context.Context, instance string, have []Mirror) error {
	for _, found := range have {
		keys := []store.Key{store.SharingKey(found.Name), store.MirrorsKey(instance), store.InstanceKey(instance)}
		err := m.cfg.Store.Update(ctx, keys, func(tx store.Tx) error {
			in, err := store.Find[*store.Instance](tx, store.InstanceKey(instance))
			if err != nil || in == nil { // it has gone since the engine was asked, and nobody would remove these records
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

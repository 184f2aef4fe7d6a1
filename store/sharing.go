package store

import "slices"

// DropMirrors removes the records of the mirrors of an instance that is gone.
func DropMirrors(tx Tx, instance string) error {
	mirrors, err := Find[*Mirrors](tx, MirrorsKey(instance))
	if err != nil || mirrors == nil {
		return err
	}
	for _, m := range mirrors.Entries {
		sharing, err := Find[*Sharing](tx, SharingKey(m.Name))
		if err != nil {
			return err
		}
		if sharing == nil {
			continue
		}
		sharing.Mirrors = slices.DeleteFunc(sharing.Mirrors, func(id string) bool { return id == instance })
		if err := PutSharing(tx, sharing); err != nil {
			return err
		}
	}
	return tx.Delete(mirrors.Key())
}

// PutSharing stores a Sharing record, or deletes it if it lists nothing.
func PutSharing(tx Tx, s *Sharing) error {
	if len(s.Containers) == 0 && len(s.Mirrors) == 0 {
		return tx.Delete(s.Key())
	}
	return tx.Put(s)
}

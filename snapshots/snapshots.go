// Package snapshots finds and removes the snapshots of sessions in a store: what berth's Session.Snapshot has kept there, and
// SessionRequest.Snapshot names. It needs no Provider.
package snapshots

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/berth-go/berth/internal/snapshot"
	"github.com/berth-go/berth/orchestrator"
)

// Info describes a snapshot of a session.
type Info struct {
	// ID names the snapshot in its store. SessionRequest.Snapshot takes it, and the Name from the user who made it.
	ID   string
	Name string
	// Repository is the repository's identity: github.com/acme/shop. UserID and TaskID are those of the session.
	Repository     string
	UserID, TaskID string
	Branch         string    // SessionInfo.Branch of the session
	Commit         string    // with which the session's checkout began. "" = the repository had none
	Files          int       // that differ from those of the commit, and those of the repository (.git)
	Bytes          int64     // of their contents
	Size           int64     // as it is stored, compressed. Equal contents are stored once
	Digest         string    // of what is stored
	Created        time.Time // by the clock of the process that made it
}

// Filter selects snapshots. A field that is "" selects all.
type Filter struct {
	Repository string // an identity, as in Info
	UserID     string
	TaskID     string
}

// List lists the snapshots that a filter selects, in no order. It reads the beginning of each snapshot of the store. A snapshot that is damaged
// comes with its ID and orchestrator.ErrSnapshotCorrupt, whatever the filter selects, and the list continues. Any other error is the last of
// the list.
func List(ctx context.Context, store orchestrator.SnapshotStore, filter Filter) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for found, err := range store.List(ctx, orchestrator.SnapshotSession) {
			if err == nil && !snapshot.IsID(found.Name.Key) {
				continue // a program has stored it by itself
			}
			info := Info{ID: found.Name.Key}
			if err == nil {
				info, err = Find(ctx, store, found.Name.Key)
			}
			switch {
			case errors.Is(err, orchestrator.ErrNoSnapshot): // it was removed meanwhile
				continue
			case err == nil && !filter.selects(info):
				continue
			}
			if !yield(info, err) || err != nil && !errors.Is(err, orchestrator.ErrSnapshotCorrupt) {
				return
			}
		}
	}
}

func (f Filter) selects(i Info) bool {
	return (f.Repository == "" || f.Repository == i.Repository) && (f.UserID == "" || f.UserID == i.UserID) && (f.TaskID == "" || f.TaskID == i.TaskID)
}

// Find describes one snapshot by its ID. orchestrator.ErrNoSnapshot: there is none. orchestrator.ErrSnapshotCorrupt: it is damaged. It reads only
// the beginning, so that it does not see other damage.
func Find(ctx context.Context, store orchestrator.SnapshotStore, id string) (Info, error) {
	if !snapshot.IsID(id) {
		return Info{ID: id}, orchestrator.ErrNoSnapshot
	}
	r, err := snapshot.Open(ctx, store, id)
	if err != nil {
		return Info{ID: id}, err
	}
	defer r.Close()
	return Of(r.Header, r.Stored), nil
}

// Remove removes a snapshot by its ID. It is a success if there is none. Sessions that were started from it stay as they are.
func Remove(ctx context.Context, store orchestrator.SnapshotStore, id string) error {
	if !snapshot.IsID(id) {
		return nil
	}
	return store.Delete(ctx, snapshot.Of(id))
}

// Of describes what package berth has stored.
func Of(h snapshot.Header, stored orchestrator.Snapshot) Info {
	return Info{
		ID: stored.Name.Key, Name: h.Name, Repository: h.Repository, UserID: h.User, TaskID: h.Task, Branch: h.Branch, Commit: h.Commit,
		Files: h.Files, Bytes: h.Bytes, Size: stored.Size, Digest: stored.Digest, Created: h.Created,
	}
}

package texts_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/texts"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/work"
)

const evilWords = "x\x1b]0;title\a\u202e\u200b\r\nlevel=ERROR msg=forged\u0085\xff"

// TestWordsOfASessionForgeNothing: those of git in it, of a server to which it pushes, and of the host's function that ends it come into errors,
// events, the log and records.
func TestWordsOfASessionForgeNothing(t *testing.T) {
	setup := world.Setup{
		Config: berth.Config{
			SaveWork: berth.SaveToBranch, OnEnd: func(context.Context, *berth.Session, berth.EndReason) error { return errors.New(evilWords) },
		},
		Engine: fake.EngineOptions{Repositories: map[string]fake.Repo{world.RepoA: {PushErr: errors.New("remote: " + evilWords)}}},
	}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		if err := s.FS(t.Context()).WriteFile("a\n\u202eb", []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Commit(t.Context(), work.CommitOptions{Message: evilWords}); err != nil && !texts.IsLine(err.Error()) {
			t.Errorf("%q", err)
		}
		if _, err := s.Push(t.Context(), work.PushOptions{}); err == nil || !texts.IsLine(err.Error()) {
			t.Errorf("%q", err)
		}
		if _, err := s.Changes(t.Context()); err != nil {
			t.Error(err)
		}
		patch, err := s.Patch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, patch); err != nil && !texts.IsLine(err.Error()) {
			t.Errorf("%q", err)
		}
		patch.Close()
		w.Terminate(s)
		if err := s.Err(); !errors.Is(err, berth.ErrUnsaved) || !texts.IsLine(err.Error()) {
			t.Errorf("%q", err)
		}
		texts.Check(t, w)
		record, err := store.Read[*store.Session](t.Context(), w.Store, store.SessionKey(s.ID()))
		if err != nil || record.Unsaved == "" || !texts.IsLine(record.Unsaved) || !texts.IsLine(record.Saved) {
			t.Errorf("a record has %q and %q, %v", record.Unsaved, record.Saved, err)
		}
	})
}

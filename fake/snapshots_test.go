package fake_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/snapshottest"
)

func TestSnapshotsConformance(t *testing.T) {
	snapshottest.Run(t, snapshottest.Harness{Bubble: synctest.Test, New: func(*testing.T) snapshottest.Rig {
		s := fake.NewSnapshots(fake.SnapshotOptions{})
		return snapshottest.Rig{
			Store:    s,
			Another:  func(*testing.T) orchestrator.SnapshotStore { return s },
			Grace:    24 * time.Hour,
			Pass:     func(_ *testing.T, d time.Duration) { time.Sleep(d) },
			Contents: func(*testing.T) int { return s.Contents() },
			Uploads:  func(*testing.T) int { return 0 },
			ChangeContent: func(_ *testing.T, at orchestrator.Snapshot, change func([]byte) []byte) {
				s.ChangeContent(at.Name, change)
			},
			ChangeDescription: func(_ *testing.T, name orchestrator.SnapshotName, change func([]byte) []byte) {
				s.ChangeDescription(name, change)
			},
			Many:  300,
			Large: 20_000,
		}
	}})
}

func TestSnapshotFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fake.NewSnapshots(fake.SnapshotOptions{})
		name := orchestrator.SnapshotName{Kind: orchestrator.SnapshotLayer, Key: "a"}
		put := func(content string) error {
			_, err := s.Put(t.Context(), name, strings.NewReader(content))
			return err
		}
		get := func() (string, error) {
			r, _, err := s.Open(t.Context(), name)
			if err != nil {
				return "", err
			}
			defer r.Close()
			content, err := io.ReadAll(r)
			return string(content), err
		}
		away := errors.New("away")
		s.Fail(fake.PutSnapshot, 1, away)
		if err := put("first"); !errors.Is(err, away) || s.Contents() != 0 {
			t.Errorf("a Put that fails: %v, and %d contents are stored", err, s.Contents())
		}
		s.CutPuts(1)
		if err := put(strings.Repeat("half", 100_000)); err == nil || s.Contents() != 0 {
			t.Errorf("a Put that is cut: %v, and %d contents are stored", err, s.Contents())
		}
		time.Sleep(25 * time.Hour)
		if done, err := s.Collect(t.Context()); err != nil || done.Uploads != 1 {
			t.Errorf("what it left: %+v, %v", done, err)
		}
		s.LoseReplies(fake.PutSnapshot, 1)
		if err := put("second"); err == nil {
			t.Error("a Put whose reply is lost succeeds")
		}
		if got, err := get(); got != "second" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		s.CutReads(1)
		if got, err := get(); got != "sec" || err == nil || errors.Is(err, orchestrator.ErrSnapshotCorrupt) {
			t.Errorf("a read that is cut: %q, %v", got, err)
		}
		began := time.Now()
		s.Next(fake.OpenSnapshot, 1, fake.Fault{Delay: time.Minute})
		if _, err := get(); err != nil || time.Since(began) < time.Minute {
			t.Errorf("a slow read took %v, %v", time.Since(began), err)
		}
		for what, damage := range map[string]func(orchestrator.SnapshotName){"Corrupt": s.Corrupt, "Truncate": s.Truncate, "Lose": s.Lose} {
			if err := put("third"); err != nil {
				t.Fatal(err)
			}
			damage(name)
			if _, err := get(); !errors.Is(err, orchestrator.ErrSnapshotCorrupt) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n := s.Calls(fake.PutSnapshot); n != 6 {
			t.Errorf("%d calls of Put", n)
		}
		if _, err := s.Put(t.Context(), name, bytes.NewReader(nil)); err != nil {
			t.Error(err)
		}
	})
}

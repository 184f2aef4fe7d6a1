package fake_test

import (
	"context"
	"errors"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/files/filestest"
)

// TestFiles runs the conformance suite of files on a session of the fake.
func TestFiles(t *testing.T) {
	p, err := fake.NewProvider(fake.Options{Instant: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "u", Repository: "https://example.com/a/b"})
	if err != nil {
		t.Fatal(err)
	}
	filestest.Run(t, filestest.Harness{FS: s.FS(context.Background()), Home: "/sessions/" + s.ID(), Temp: "/tmp"})
	if err := p.TerminateSession(t.Context(), s.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FS(context.Background()).Stat("."); !errors.Is(err, berth.ErrTerminated) {
		t.Errorf("after the end of the session, Stat returned %v", err)
	}
}

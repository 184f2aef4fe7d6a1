package files_test

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

func Example() {
	p, err := fake.NewProvider(fake.Options{Instant: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	ctx := context.Background()
	s, err := p.CreateSession(ctx, berth.SessionRequest{TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fsys := s.FS(ctx) // its checkout
	if err := fsys.MkdirAll("agent/notes", 0o755); err != nil {
		fmt.Println(err)
		return
	}
	if err := fsys.WriteFile("agent/notes/task.md", []byte("Fix the login.\n"), 0o644); err != nil {
		fmt.Println(err)
		return
	}
	err = fs.WalkDir(fsys, ".", func(name string, _ fs.DirEntry, err error) error {
		fmt.Println(name)
		return err
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// .
	// agent
	// agent/notes
	// agent/notes/task.md
}

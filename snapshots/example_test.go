package snapshots_test

import (
	"context"
	"fmt"
	"log"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/snapshots"
)

// The work of a task is kept. The task that continues it starts with the same files, wherever its container is.
func Example() {
	ctx := context.Background()
	store := fake.NewSnapshots(fake.SnapshotOptions{}) // or dirsnapshots.New, s3snapshots.New
	p, err := fake.NewProvider(fake.Options{Config: berth.Config{Snapshots: store}})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	request := berth.SessionRequest{TaskID: "t-1", UserID: "ann", Repository: "https://github.com/acme/shop"}
	s, err := p.CreateSession(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	if err := s.FS(ctx).WriteFile("notes.txt", []byte("half done"), 0o644); err != nil {
		log.Fatal(err)
	}
	if _, err := s.Snapshot(ctx, "friday"); err != nil {
		log.Fatal(err)
	}
	if err := p.TerminateSession(ctx, s.ID()); err != nil {
		log.Fatal(err)
	}

	request.TaskID, request.Snapshot = "t-2", "friday"
	next, err := p.CreateSession(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	notes, err := next.FS(ctx).ReadFile("notes.txt")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", notes)

	for kept, err := range snapshots.List(ctx, store, snapshots.Filter{UserID: "ann"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(kept.Name, kept.Repository)
		if err := snapshots.Remove(ctx, store, kept.ID); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// half done
	// friday github.com/acme/shop
}

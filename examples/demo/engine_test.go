package main

import (
	"testing"

	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
)

// TestStoryOnGivenRepositories runs the story with -repo on the engine.
func TestStoryOnGivenRepositories(t *testing.T) {
	testenv.Image(t)
	repo := gittest.NewRepo("acme/rocket")
	repo.Commit("main", "Begin the rocket", map[string]string{"README.md": "# rocket\n"})
	server, err := gittest.Serve(t.Context(), testenv.Docker(t), repo)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	tellsOn(t, []string{server.URL(repo)}, []string{"acme/rocket", "Begin the rocket"})
}

package dockerengine

import (
	"slices"
	"testing"

	"github.com/moby/moby/api/types/image"
)

func TestDigestsOfAnImage(t *testing.T) {
	got := digestsOf(image.InspectResponse{ID: "sha256:1", RepoDigests: []string{"a/b@sha256:2", "c@sha256:3", "none"}})
	if want := []string{"sha256:1", "sha256:2", "sha256:3"}; !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
}

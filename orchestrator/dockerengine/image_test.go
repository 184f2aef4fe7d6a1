package dockerengine

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-go/berth/orchestrator"
)

func TestNoImageSaysWhatToDo(t *testing.T) {
	h := &images{daemon: &daemon{at: orchestrator.Endpoint{Address: "unix:///var/run/docker.sock"}}}
	refused := errors.New("no such host")
	for _, c := range []struct {
		image string // of the configuration
		words []string
	}{
		{"org/ours:1", []string{"org/ours:1", "`docker pull org/ours:1`", "`docker load`", "Config.Image"}},
		{"", []string{localImage, publicImage, "`make image`", "`docker pull " + publicImage + "`", "Config.Image"}},
	} {
		err := h.noImage(candidates(c.image), refused)
		if !errors.Is(err, orchestrator.ErrImage) || !errors.Is(err, refused) {
			t.Errorf("image %q: the error is %v", c.image, err)
		}
		for _, words := range append(c.words, h.at.Address) {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("image %q: the error does not say %s: %v", c.image, words, err)
			}
		}
	}
}

package dockerengine

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestNoRightToUseAnEngine(t *testing.T) {
	err := explain("unix:///var/run/docker.sock", fmt.Errorf("dial: %w", os.ErrPermission))
	for _, want := range []string{"no right", "unix:///var/run/docker.sock", "group docker", "DOCKER_HOST"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

package berth_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/gittest"
)

// TestLocalCredentialIsNotSeenDuringAFetch: not by a neighbour in the container, nor by who may ask the engine.
func TestLocalCredentialIsNotSeenDuringAFetch(t *testing.T) {
	const secret = "s3cret-token"
	l := newLocal(t, berth.Config{MirrorMaxAge: 1}) // any session fetches
	remote := l.git.Create("org/secret", gittest.Small())
	remote.RequireCredentials("robot", secret)
	url := strings.Replace(remote.URL(), "://", "://robot:"+secret+"@", 1)
	neighbour := l.create("neighbour", url, "")
	remote.Delay(500 * time.Millisecond)
	created := make(chan error, 1)
	go func() {
		_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "u", Repository: url})
		created <- err
	}()
	var seen strings.Builder
	looks := 0
	for over := false; !over; looks++ {
		for id := range l.containers() {
			top, err := l.docker.ContainerTop(t.Context(), id, client.ContainerTopOptions{Arguments: []string{"-ef"}})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&seen, top.Processes)
		}
		fmt.Fprintln(&seen, sh(t, neighbour, "cat .git/config /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"))
		select {
		case err := <-created:
			if over = true; err != nil {
				t.Error(err)
			}
		default:
		}
	}
	remote.Delay(0)
	if looks < 3 || !strings.Contains(seen.String(), "git-remote-http") {
		t.Errorf("in %d looks the fetch was not seen", looks)
	}
	if strings.Contains(seen.String(), secret) {
		t.Errorf("the credential is seen:\n%s", seen.String())
	}
}

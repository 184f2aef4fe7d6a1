package local_test

import (
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/orchestrator"
)

// newWithCache returns a provider whose containers have a cache, and a function that waits until it was filled.
func newWithCache(t *testing.T, image string, cache orchestrator.Cache, env map[string]string) (l *local.Pool, filled func()) {
	t.Helper()
	messages := make(chan string, 1000)
	l = local.New(t, berth.Config{
		Image: image, Caches: []orchestrator.Cache{cache}, Env: env,
		OnEvent: func(e berth.Event) {
			if e.Type == berth.EventProgress && strings.Contains(e.Message, "filled") { // or not
				messages <- e.Message
			}
		},
	})
	return l, func() {
		t.Helper()
		select {
		case message := <-messages:
			if message != "filled the caches: "+cache.Name {
				t.Fatal(message)
			}
		case <-t.Context().Done():
			t.Fatal("no cache was filled")
		}
	}
}

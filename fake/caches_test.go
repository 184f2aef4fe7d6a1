package fake_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/orchestrator"
)

// TestCachesAreFilledBesideSessions: once for a container, and again after a commit to the default branch.
func TestCachesAreFilledBesideSessions(t *testing.T) {
	const repository = "https://github.com/acme/shop"
	for _, noRooms := range []string{"", "the engine refuses"} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			engine := fake.NewEngine(fake.EngineOptions{Cloud: fake.NewCloud(fake.CloudOptions{}), NoRooms: noRooms})
			p, err := fake.NewProvider(fake.Options{Engine: engine, Config: berth.Config{
				Caches: []orchestrator.Cache{orchestrator.GoModules(), orchestrator.NPM()},
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			}})
			if err != nil {
				t.Fatal(err)
			}
			var container string
			create := func(task string) {
				t.Helper()
				s, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: task, UserID: "u", Repository: repository})
				if err != nil {
					t.Fatal(err)
				}
				container = s.Info().Container.Name
				synctest.Wait()
				time.Sleep(2 * time.Minute) // the mirror is then too old for the next
			}
			filled := func(when string, want int) {
				t.Helper()
				if noRooms != "" {
					want = 0
				}
				if got := engine.Fills(container); got != want {
					t.Errorf("%s: caches were filled %d times, want %d", when, got, want)
				}
			}
			create("1")
			filled("after the first session", 2)
			create("2")
			filled("after the second", 2)
			engine.Push(repository, "main")
			create("3")
			filled("after a commit", 4)
			p.Close()
			if got := strings.Count(log.String(), "do not share the caches"); got != min(len(noRooms), 1) {
				t.Errorf("the log says %d times that caches are not shared:\n%s", got, &log)
			}
		})
	}
}

package berth_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// TestFetchThatDoesNotEndIsGivenUp: not every transport notices that the other side is silent.
func TestFetchThatDoesNotEndIsGivenUp(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{FetchTimeout: 10 * time.Minute}}, func(t *testing.T, w *world) {
		w.terminate(w.create("before", repoB)) // an instance is up
		w.engine.Hang(fake.Fetch)
		begun := time.Now()
		_, err := w.CreateSession(t.Context(), asking("t", repoA))
		failure, ok := errors.AsType[*berth.StartError](err)
		if took := time.Since(begun); !ok || failure.Phase != "fetching" || took < 10*time.Minute || took > 11*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
		w.engine.Heal()
		after(time.Minute)
		w.empty()
		w.create("t", repoA)
	})
}

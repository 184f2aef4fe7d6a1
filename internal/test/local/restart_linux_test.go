package local_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/internal/test/world"
)

// TestLocalStartWaitsForAnEngineThatRestarts: a session that needs a container is created when the engine is back,
// whether the engine stopped before the start or during it.
func TestLocalStartWaitsForAnEngineThatRestarts(t *testing.T) {
	git, image := gittest.NewSmartServer(t), testenv.Image(t) // by the machine's engine
	second := testenv.StartSecondEngine(t, testenv.SecondEngineOptions{})
	t.Setenv("DOCKER_HOST", second.Address)
	progress := make(chan string, 1000)
	l := local.New(t, berth.Config{Image: image, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), OnEvent: func(e berth.Event) {
		if e.Type == berth.EventProgress {
			progress <- e.Message
		}
	}})
	await := func(words string) {
		t.Helper()
		late := time.After(5 * time.Minute)
		for {
			select {
			case message := <-progress:
				if strings.Contains(message, words) {
					return
				}
			case <-late:
				t.Fatalf("no event said %q", words)
			}
		}
	}
	creating := func(task string) <-chan world.Result {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		t.Cleanup(cancel)
		url := git.Create("org/"+task, gittest.Small()).URL()
		c := make(chan world.Result, 1)
		go func() {
			s, err := l.CreateSession(ctx, berth.SessionRequest{TaskID: task, UserID: "user", Repository: url})
			c <- world.Result{Session: s, Err: err}
		}()
		return c
	}
	works := func(c <-chan world.Result) {
		t.Helper()
		r := <-c
		if r.Err != nil {
			t.Fatalf("CreateSession: %v", r.Err)
		}
		if err := r.Session.Command(t.Context(), "git", "log", "-1").Run(); err != nil {
			t.Errorf("a command in the session: %v", err)
		}
	}

	first := l.Create("first", git.Create("org/first", gittest.Small()).URL(), "")
	if err := l.TerminateSession(t.Context(), first.ID()); err != nil {
		t.Fatal(err)
	}
	for len(progress) > 0 {
		<-progress
	}

	second.Kill()
	c := creating("before")
	await("waiting for the engine")
	second.Start()
	works(c)

	for task, end := range map[string]func(){"killed": second.Kill, "stopped": second.Stop} {
		c = creating(task)
		await("starting the container")
		end() // in the start, or in the fetch that follows
		second.Start()
		works(c)
	}
}

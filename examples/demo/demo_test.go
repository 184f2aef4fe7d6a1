package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/examples/internal/narrate"
	"github.com/berth-go/berth/internal/test/testenv"
)

// wantStory checks the output of a story on that many repositories. 0 means the two that are built in.
func wantStory(t *testing.T, story string, repos int) {
	t.Helper()
	starts := make(map[string][]string) // start and container, by task
	for line := range strings.Lines(story) {
		if f := strings.Fields(line); len(f) == 6 && (f[3] == "cold" || f[3] == "attached") {
			starts[f[0]] = []string{f[3], f[5]}
		}
	}
	login, tests := starts["fix-login"], starts["add-tests"]
	others := []string{"write-docs", "task-4", "task-5"}[:max(repos, 2)-1]
	shared := "alice's fix-login, bob's add-tests"
	if repos == 1 {
		shared = "alice's fix-login, alice's write-docs, bob's add-tests"
	}
	if len(starts) != 2+len(others) || login == nil || tests == nil {
		t.Fatalf("the tasks that started are %v, in\n%s", starts, story)
	}
	if login[0] != "cold" || tests[0] != "attached" || login[1] != tests[1] {
		t.Errorf("the first two tasks are %v and %v", login, tests)
	}
	containers := map[string]bool{login[1]: true}
	for _, name := range others {
		if other := starts[name]; other == nil || containers[other[1]] != (repos == 1) || (other[0] == "attached") != (repos == 1) {
			t.Errorf("%s is %v", name, other)
		} else {
			containers[other[1]] = true
		}
	}
	for _, want := range []string{"No such file or directory", shared, "is destroyed"} {
		if !strings.Contains(story, want) {
			t.Errorf("the story does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(story)
	}
}

func TestStoryOnFakes(t *testing.T) {
	for name, repos := range map[string][]string{
		"built-in": nil,
		"one":      {"https://git.acme.invalid/acme/rocket.git"},
		"three": {
			"https://git.acme.invalid/acme/rocket.git", "git@git.acme.invalid:acme/skates.git", "https://git.acme.invalid/acme/anvil",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b bytes.Buffer
				out := newPrinter(&b, false)
				st, err := newFakeStage(out, "demo", repos)
				if err != nil {
					t.Fatal(err)
				}
				if err := play(t.Context(), out, st); err != nil {
					t.Fatal(err)
				}
				wantStory(t, b.String(), len(repos))
				if !strings.Contains(b.String(), "Receiving objects: 100 %") {
					t.Errorf("no progress in %s", &b)
				}
			})
		})
	}
}

// tellsOn tells the story on the engine, and checks its output, which must also have these words.
func tellsOn(t *testing.T, repos, words []string) {
	t.Helper()
	var b bytes.Buffer
	if err := run(t.Context(), newPrinter(&b, false), testenv.PoolName(t), repos); err != nil {
		t.Fatal(err)
	}
	wantStory(t, b.String(), len(repos))
	for _, word := range words {
		if !strings.Contains(b.String(), word) {
			t.Errorf("the story does not say %q:\n%s", word, &b)
		}
	}
}

func TestStoryOnTheEngine(t *testing.T) {
	testenv.Image(t)
	tellsOn(t, nil, []string{"acme/shop", "acme/billing"})
}

// TestInterruptedStory interrupts the story at several points. PoolName checks that nothing is left.
func TestInterruptedStory(t *testing.T) {
	testenv.Image(t)
	for _, after := range []time.Duration{1, 150 * time.Millisecond, 600 * time.Millisecond, 1500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context()) // a deadline would divide the time among the questions to the engine
			defer cancel()
			defer time.AfterFunc(after, cancel).Stop()
			err := run(ctx, newPrinter(new(bytes.Buffer), false), testenv.PoolName(t), nil)
			if err != nil && (!errors.Is(err, narrate.ErrInterrupted) || err.Error() != narrate.ErrInterrupted.Error()) {
				t.Errorf("run = %v", err)
			}
		})
	}
}

func TestWithoutAnEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
	var b bytes.Buffer
	out := newPrinter(&b, false)
	st, err := newStage(t.Context(), out, "demo", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.clear(out); err != nil {
		t.Error(err)
	}
	first, _, _ := strings.Cut(b.String(), "\n")
	if !st.simulated || !strings.HasPrefix(first, "No Docker engine answers (") || !strings.Contains(first, "127.0.0.1:1") {
		t.Errorf("it says %q", first)
	}
}

func TestProgress(t *testing.T) {
	steps := []string{"a: Counting: 0 %", "a: Counting: 7 %", "a: Counting: 33 %", "a: start", "a: start", "b: Counting: 33 %"}
	for terminal, want := range map[bool]string{
		false: "  a: Counting: 0 %\n  a: Counting: 33 %\n  a: start\n  b: Counting: 33 %\nend\n",
		true: "  a: Counting: 0 %\r\x1b[K  a: Counting: 7 %\r\x1b[K  a: Counting: 33 %\r\x1b[K  a: start\r\x1b[K  a: start" +
			"\r\x1b[K  b: Counting: 33 %\r\x1b[Kend\n",
	} {
		var b bytes.Buffer
		out := newPrinter(&b, terminal)
		for _, s := range steps {
			out.progress(s)
		}
		out.printf("end\n")
		if b.String() != want {
			t.Errorf("with terminal = %v it writes %q", terminal, &b)
		}
	}
}

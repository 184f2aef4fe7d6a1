package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/internal/narrate"
)

// A load is users who work on repositories.
type load struct {
	provider *berth.Provider
	repos    []string
	users    int
	task     time.Duration // how long a task lasts, on average
	out      *narrate.Printer

	mu    sync.Mutex // protects the fields below
	said  time.Time  // when a failure was said last
	other int        // failures since then
}

var (
	names = []string{"ann", "ben", "cleo", "dan", "eve", "finn", "gus", "hana"}
	teams = []string{"web", "data", "apps"}
)

// run works until ctx ends.
func (l *load) run(ctx context.Context) {
	var all sync.WaitGroup
	for n := range l.users {
		user := names[n%len(names)]
		if n >= len(names) {
			user += strconv.Itoa(n / len(names))
		}
		all.Go(func() {
			for i := 1; ctx.Err() == nil; i++ {
				if err := l.work(ctx, user, teams[n%len(teams)], i); ctx.Err() == nil {
					l.say(err)
				}
				l.pause(ctx, l.task/4)
			}
		})
	}
	all.Wait()
}

// work is one task: a session, a few commands, a file that is kept when it ends, and in every third one a snapshot.
func (l *load) work(ctx context.Context, user, team string, n int) error {
	task := fmt.Sprintf("%s-%d", user, n)
	repo := l.repos[min(rand.IntN(len(l.repos)), rand.IntN(len(l.repos)))] // the first is the busiest
	s, err := l.provider.CreateSession(ctx, berth.SessionRequest{
		TaskID: task, UserID: user, Repository: repo, Labels: map[string]string{"team": team},
	})
	if err != nil || ctx.Err() != nil {
		return err
	}
	defer func() {
		if ctx.Err() == nil { // otherwise the pool is about to be destroyed
			l.say(l.provider.TerminateSession(ctx, s.ID()))
		}
	}()
	if out, err := s.Command(ctx, "git", "log", "-1", "--oneline").CombinedOutput(); err != nil {
		return fmt.Errorf("task %s: %w: %s", task, err, out)
	}
	if err := s.FS(ctx).WriteFile("notes.txt", []byte("the work of "+task+"\n"), 0o644); err != nil {
		return fmt.Errorf("task %s: %w", task, err)
	}
	if n%3 == 1 {
		if _, err := s.Snapshot(ctx, "latest"); err != nil {
			return fmt.Errorf("task %s: %w", task, err)
		}
	}
	for range 3 {
		seconds := (l.task / 3).Seconds() * (0.5 + rand.Float64())
		if err := s.Command(ctx, "sleep", strconv.FormatFloat(seconds, 'f', 2, 64)).Run(); err != nil {
			return fmt.Errorf("task %s: %w", task, err)
		}
	}
	return nil
}

// pause waits for about d.
func (l *load) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(time.Duration(float64(d) * (0.5 + rand.Float64())))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// say prints a failure, but no more than one every few seconds.
func (l *load) say(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.said) < 5*time.Second {
		l.other++
		return
	}
	more := ""
	if l.other > 0 {
		more = fmt.Sprintf(" (and %d more failures before)", l.other)
	}
	l.out.Say("%v%s", err, more)
	l.said, l.other = time.Now(), 0
}

package dashboard_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// listen follows the pool as a browser does. Each value is that of one event.
func (s *site) listen(ctx context.Context) (versions <-chan string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+s.prefix+"live", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		s.t.Errorf("the stream is %s", kind)
	}
	all := make(chan string, 100)
	go func() {
		defer close(all)
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if version, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				select {
				case all <- version:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return all
}

// next returns the next event.
func next(t *testing.T, versions <-chan string) string {
	t.Helper()
	select {
	case v, ok := <-versions:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return v
	case <-time.After(patience):
		t.Fatal("the stream says nothing")
	}
	return ""
}

func TestStreamTellsOfChanges(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	s.get("")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	versions := s.listen(ctx)
	first := next(t, versions)
	session := s.create("task-1", "ann", repoA)
	for next(t, versions) == first {
	}
	s.shows("tasks", "task-1", false)
	if err := s.TerminateSession(t.Context(), session.ID()); err != nil {
		t.Fatal(err)
	}
	s.shows("tasks", "task-1", true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case _, ok := <-versions:
			if !ok {
				return // Close ends the stream
			}
		case <-time.After(patience):
			t.Fatal("the stream goes on after Close")
		}
	}
}

func TestRenewalsAreNoChange(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	session := s.create("task-1", "ann", repoA)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	versions := s.listen(ctx)
	s.get("")
	renew := func(change func(*store.Session)) {
		t.Helper()
		r, err := store.Read[*store.Session](t.Context(), s.store, store.SessionKey(session.ID()))
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		s.put(r)
	}
	until := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	renew(func(r *store.Session) { r.Beat++; r.LeaseUntil = until })
	s.shows("tasks/"+session.ID()+"?fresh", "2031-02-03 04:05:06 UTC", false)
	before := ""
	for done := false; !done; {
		select {
		case before = <-versions:
		default:
			done = true
		}
	}
	renew(func(r *store.Session) { r.Beat++; r.LeaseUntil = until.Add(time.Hour) })
	renew(func(r *store.Session) { r.CheckedOut = "other" })
	after := next(t, versions)
	a, _ := strconv.Atoi(before)
	b, _ := strconv.Atoi(after)
	if b != a+1 {
		t.Errorf("a renewal and a change make version %s from %s, want one more", after, before)
	}
}

func TestConditionsOfThePoolShow(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		h := dashboard.Handler(w.NewProvider(), dashboard.Options{}) // which does not plan
		const words = "The cloud refuses the credentials"
		time.Sleep(time.Minute)
		if page := serve(t, h, "/"); strings.Contains(page, words) {
			t.Error(page)
		}
		w.Cloud.Refuse(errors.Join(errors.New("ExpiredToken"), pool.ErrAuth))
		time.Sleep(time.Minute)
		contains(t, "the page", serve(t, h, "/"), words, "ExpiredToken")
		w.Cloud.Heal()
		time.Sleep(9 * time.Minute) // not at the moment in which an idle dashboard forgets what it has read
		if page := serve(t, h, "/"); strings.Contains(page, words) {
			t.Error(page)
		}
	})
}

func TestUnchangedPageHasNoBody(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	for deadline := time.Now().Add(patience); ; {
		first, _ := s.do(http.MethodGet, "queue", nil)
		tag := first.Header.Get("ETag")
		again, body := s.do(http.MethodGet, "queue", nil, func(r *http.Request) { r.Header.Set("If-None-Match", tag) })
		if again.StatusCode == http.StatusNotModified && body == "" {
			return
		}
		if time.Now().After(deadline) { // its times are relative, and it is made again now and then
			t.Fatalf("%s with the tag %s", again.Status, tag)
		}
	}
}

// TestManyWatch is for the race detector: 20 browsers watch while sessions come and go.
func TestManyWatch(t *testing.T) {
	s := open(t, berth.Config{MaxTasksPerInstance: 100}, dashboard.Options{Authorize: allowAll})
	ctx, cancel := context.WithCancel(t.Context())
	var browsers sync.WaitGroup
	paths := []string{"", "tasks", "instances", "queue", "events", "usage", "tasks?q=a&state=all", "repository?name=git.example%2Fteam%2Falpha", "api/tasks", "api/"}
	for i := range 20 {
		browsers.Go(func() {
			versions := s.listen(ctx)
			for range versions {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+s.prefix+paths[i%len(paths)], nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					continue // the test ends
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if known := resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNotFound; !known || err != nil && ctx.Err() == nil {
					t.Errorf("GET %s: %s %v", paths[i%len(paths)], resp.Status, err)
				}
			}
		})
	}
	for i := range 60 {
		session := s.create("task-"+strconv.Itoa(i), "ann", []string{repoA, repoB}[i%2])
		if i%3 > 0 {
			if err := s.TerminateSession(t.Context(), session.ID()); err != nil {
				t.Error(err)
			}
		}
	}
	s.shows("tasks", "20 tasks", false)
	cancel()
	browsers.Wait()
}

func TestStoreThatFailsShowsOnThePage(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	s.create("task-1", "ann", repoA)
	s.get("")
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if body := s.get("tasks"); strings.Contains(body, "The store cannot be read") && strings.Contains(body, "task-1") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the page does not say that the store fails")
		}
	}
}

func TestAfterCloseThePageSaysSo(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "api/tasks", "api/"} {
		if resp, body := s.do(http.MethodGet, path, nil); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "closed") {
			t.Errorf("GET %s: %s\n%s", path, resp.Status, body)
		}
	}
	if !errors.Is(s.Console().View(t.Context(), nil), berth.ErrClosed) {
		t.Error("a Console reads after Close")
	}
}

// serve returns a page of a handler, without a server.
func serve(t *testing.T, h http.Handler, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d\n%s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// TestStoreWithoutWatch has a store that does not say what changes: all is read again.
func TestStoreWithoutWatch(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		if stop, ok := w.Console().Watch(func(store.Key) {}); ok {
			stop()
			t.Fatal("the store says what changes")
		}
		h := dashboard.Handler(w.Provider, dashboard.Options{})
		contains(t, "the empty list", serve(t, h, "/tasks"), "No task runs")
		session := w.Create("task-1", world.RepoA)
		time.Sleep(time.Minute)
		contains(t, "the list", serve(t, h, "/tasks"), "task-1")
		w.Terminate(session)
		time.Sleep(time.Minute)
		contains(t, "the list", serve(t, h, "/tasks"), "No task runs")
		time.Sleep(time.Hour) // the model was dropped
		w.Create("task-2", world.RepoA)
		contains(t, "the list", serve(t, h, "/tasks"), "task-2")
	})
}

func TestModelIsDroppedAndReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := fake.NewProvider(fake.Options{Instant: true})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		h := dashboard.Handler(p, dashboard.Options{})
		create := func(task string) {
			t.Helper()
			if _, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: task, UserID: "ann", Repository: repoA}); err != nil {
				t.Fatal(err)
			}
		}
		create("task-1")
		contains(t, "the list", serve(t, h, "/tasks"), "task-1")
		create("task-2") // nobody looks
		time.Sleep(5 * time.Minute)
		contains(t, "the list", serve(t, h, "/tasks"), "task-1", "task-2")
		time.Sleep(30 * time.Minute)
		create("task-3")
		contains(t, "the list", serve(t, h, "/tasks"), "task-1", "task-2", "task-3")
		time.Sleep(30 * time.Minute)
	})
}

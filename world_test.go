package berth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
	"github.com/berth-go/berth/store/storetest"
)

// world is a pool over fakes, inside a bubble, and all that can be seen of it.
type world struct {
	*berth.Provider
	t      *testing.T
	cloud  *fake.Cloud
	engine *fake.Engine
	store  store.Store
	cfg    berth.Config

	mu     sync.Mutex // protects what follows
	events []berth.Event
	log    bytes.Buffer
}

// setup says how a world differs from the usual one.
type setup struct {
	berth.Config
	Engine fake.EngineOptions
	Cloud  fake.CloudOptions
}

// inWorld runs a test in virtual time. At its end the pool is closed.
func inWorld(t *testing.T, s setup, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, cloud: fake.NewCloud(s.Cloud), store: storetest.Strict(memstore.New()), cfg: s.Config}
		s.Engine.Cloud = w.cloud
		w.engine = fake.NewEngine(s.Engine)
		w.cfg.OnEvent = w.note
		w.cfg.Logger = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
		t.Cleanup(func() { w.engine.Close() })
		w.Provider = w.provider()
		test(t, w)
	})
}

// provider makes one more Provider over the same store, which is closed with the test.
func (w *world) provider() *berth.Provider {
	w.t.Helper()
	cfg := w.cfg
	cfg.Cloud, cfg.Engine, cfg.Store = w.cloud, w.engine, w.store
	p, err := berth.New(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.Close() })
	return p
}

func (w *world) note(e berth.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// Write takes the log.
func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

// seen returns the events so far.
func (w *world) seen() []berth.Event {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

const (
	repoA = "https://github.com/acme/rocket"
	repoB = "https://github.com/acme/skates"

	wile   = "wile" // who asks, unless the test says otherwise
	runner = "runner"
)

func asking(task, repo string) berth.SessionRequest {
	return berth.SessionRequest{TaskID: task, UserID: wile, Repository: repo}
}

// create makes a session that must succeed.
func (w *world) create(task, repo string) *berth.Session {
	w.t.Helper()
	s, err := w.CreateSession(w.t.Context(), asking(task, repo))
	if err != nil {
		w.t.Fatalf("creating %s: %v", task, err)
	}
	return s
}

func (w *world) terminate(s *berth.Session) {
	w.t.Helper()
	if err := w.TerminateSession(w.t.Context(), s.ID()); err != nil {
		w.t.Fatalf("terminating %s: %v", s.Info().TaskID, err)
	}
}

// result is what a CreateSession gave.
type result struct {
	s   *berth.Session
	err error
}

// creating begins to create a session in the background.
func (w *world) creating(ctx context.Context, p *berth.Provider, r berth.SessionRequest) <-chan result {
	c := make(chan result, 1)
	go func() {
		s, err := p.CreateSession(ctx, r)
		c <- result{s, err}
	}()
	return c
}

// pending fails the test if a creation has returned.
func (w *world) pending(c <-chan result, why string) {
	w.t.Helper()
	synctest.Wait()
	select {
	case r := <-c:
		w.t.Fatalf("returned %v, %v; but %s", r.s, r.err, why)
	default:
	}
}

func (w *world) view(fn func(store.View) error) {
	w.t.Helper()
	if err := w.store.View(context.Background(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) instances() (all []*store.Instance) {
	w.view(func(v store.View) (err error) { all, err = v.Instances(store.InstanceQuery{}); return err })
	return all
}

func (w *world) containers() (all []*store.Container) {
	w.view(func(v store.View) (err error) { all, err = v.Containers(store.ContainerQuery{}); return err })
	return all
}

// alive returns the sessions that have not ended.
func (w *world) alive() (all []*store.Session) {
	w.view(func(v store.View) (err error) {
		all, err = v.Sessions(store.SessionQuery{States: []store.SessionState{
			store.SessionCreating, store.SessionActive, store.SessionTerminating,
		}})
		return err
	})
	return all
}

// empty fails the test unless no session, container, checkout or slot is left.
func (w *world) empty() {
	w.t.Helper()
	for _, s := range w.alive() {
		w.t.Errorf("session of %s is left, %s", s.TaskID, s.State)
	}
	for _, c := range w.containers() {
		w.t.Errorf("the record of container %s is left, %s with %d sessions", c.Name, c.State, c.Sessions)
	}
	for _, c := range w.engine.Containers() {
		if c.Pool != "" {
			w.t.Errorf("container %s is left, with sessions %v", c.Name, c.Sessions)
		}
	}
	for _, in := range w.instances() {
		if in.Sessions != 0 || in.UIDs.Len() != 0 {
			w.t.Errorf("instance %s still holds %d slots and %d uids", in.ID, in.Sessions, in.UIDs.Len())
		}
	}
	w.view(func(v store.View) error {
		for _, id := range []string{wile, runner} {
			if user, err := store.Find[*store.User](v, store.UserKey(id)); err != nil || user != nil {
				w.t.Errorf("user %s still counts %+v, %v", id, user, err)
			}
		}
		return nil
	})
}

// secret is planted where a credential can come in, and must come out nowhere.
const secret = "hunter2-s3cr3t"

// noSecret fails the test if the secret is in a record, an event, the log or one of some errors.
func (w *world) noSecret(errs ...error) {
	w.t.Helper()
	for _, err := range errs {
		w.without("an error", fmt.Sprintf("%v %+v", err, err))
		for ; err != nil; err = errors.Unwrap(err) {
			w.without("an error's fields", fmt.Sprintf("%+v", err))
		}
	}
	for _, e := range w.seen() {
		w.without("an event", fmt.Sprintf("%+v", e))
	}
	w.without("the log", w.log.String())
	w.view(func(v store.View) error {
		sessions, err := v.Sessions(store.SessionQuery{})
		if err != nil {
			return err
		}
		for _, r := range sessions {
			w.withoutRecord(r)
		}
		for _, r := range w.containers() {
			w.withoutRecord(r)
			sharing, err := v.Get(store.SharingKey(r.Name))
			if err != nil {
				return err
			}
			w.withoutRecord(sharing)
		}
		for _, r := range w.instances() {
			w.withoutRecord(r)
		}
		return nil
	})
	for _, c := range w.engine.Containers() {
		w.without("a container", fmt.Sprintf("%+v", c))
	}
}

func (w *world) withoutRecord(r store.Record) {
	w.t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.without("the record "+r.Key().String(), string(text))
}

func (w *world) without(what, text string) {
	w.t.Helper()
	if strings.Contains(text, secret) {
		w.t.Errorf("%s holds a credential: %s", what, text)
	}
}

// after sleeps, and lets everything that is due happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) poolUID() (uid string) {
	w.view(func(v store.View) error {
		pool, err := store.Get[*store.Pool](v, store.PoolKey())
		if err == nil {
			uid = pool.UID
		}
		return err
	})
	return uid
}

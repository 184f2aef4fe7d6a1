package memstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// sizes are the numbers of live sessions between which no cost may grow much.
var sizes = []int{100, 100_000}

// BenchmarkUpdate gets and puts the four records that a session's life touches, without moving them in an index.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(b, n)
			for b.Loop() {
				touch(b, s, rand.IntN(n))
			}
		})
	}
}

// BenchmarkUpdateAfterView is BenchmarkUpdate with a View before each, so that every node is copied before it is
// changed: the worst case of copying on write.
func BenchmarkUpdateAfterView(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(b, n)
			for b.Loop() {
				look(b, s, rand.IntN(n))
				touch(b, s, rand.IntN(n))
			}
		})
	}
}

// BenchmarkLife creates a session, activates it, ends it and removes it: four Updates, each of which moves entries of
// the index.
func BenchmarkLife(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(b, n)
			for i := 0; b.Loop(); i++ {
				live(b, s, i%n, n+i)
			}
		})
	}
}

// BenchmarkHeap reports the heap that a live session takes, with its task and its place in the index.
func BenchmarkHeap(b *testing.B) {
	const n = 50_000
	for b.Loop() {
		before := heap()
		s := filled(b, n)
		b.ReportMetric(float64(heap()-before)/n, "B/session")
		runtime.KeepAlive(s)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

const perInstance = 10

// start is when every record of these benchmarks begins.
var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func instanceID(i int) string  { return fmt.Sprintf("i-%08d", i/perInstance) }
func containerID(i int) string { return fmt.Sprintf("c-%08d", i/perInstance) }
func sessionID(i int) string   { return fmt.Sprintf("s-%016x", i) } // in the order in which they are made, as real ones are
func taskID(i int) string      { return fmt.Sprintf("task-%08d", i) }

func session(i int) *store.Session {
	name := fmt.Sprintf("repo-acme-project-%d-1f3a9c07qz", i/perInstance)
	return &store.Session{
		ID: sessionID(i), TaskID: taskID(i), UserID: fmt.Sprintf("user-%d", i%1000),
		SharingKey: naming.Key{Repository: naming.Repository{Host: "github.com", Path: fmt.Sprintf("acme/project-%d", i/perInstance)}},
		Remote:     fmt.Sprintf("https://github.com/acme/project-%d.git", i/perInstance),
		Branch:     "main", Labels: map[string]string{"team": "blue"},
		AuthorName: "Ada", AuthorEmail: "ada@example.com", IdleTimeout: time.Hour,
		State: store.SessionActive, Owner: "replica-1", CreatedAt: start,
		Container: containerID(i), ContainerName: name, EngineID: "0123456789ab", Instance: instanceID(i), UID: 10000 + i%100,
		Workdir: "/berth/sessions/" + sessionID(i), CheckedOut: "main", Start: "attached", LeaseUntil: start.Add(time.Duration(i) * time.Second),
	}
}

// filled returns a store that holds n active sessions with their tasks, ten per container and instance.
func filled(b *testing.B, n int) store.Store {
	b.Helper()
	s := memstore.New()
	b.Cleanup(func() { _ = s.Close() })
	for i := range n {
		update(b, s, func(tx store.Tx) error {
			if i%perInstance == 0 {
				_ = tx.Put(&store.Instance{ID: instanceID(i), State: store.InstanceReady, Slots: perInstance + 1, Sessions: perInstance})
				_ = tx.Put(&store.Container{ID: containerID(i), Instance: instanceID(i), State: store.ContainerReady, Sessions: perInstance})
			}
			_ = tx.Put(&store.Task{ID: taskID(i), Session: sessionID(i)})
			return tx.Put(session(i))
		})
	}
	return s
}

func update(b *testing.B, s store.Store, fn func(store.Tx) error) {
	if err := s.Update(context.Background(), nil, fn); err != nil {
		b.Fatal(err)
	}
}

func touch(b *testing.B, s store.Store, i int) {
	keys := [...]store.Key{
		store.InstanceKey(instanceID(i)), store.ContainerKey(containerID(i)),
		store.SessionKey(sessionID(i)), store.TaskKey(taskID(i)),
	}
	update(b, s, func(tx store.Tx) error {
		for _, key := range keys {
			r, err := tx.Get(key)
			if err != nil {
				return err
			}
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
}

func look(b *testing.B, s store.Store, i int) {
	err := s.View(context.Background(), func(v store.View) error {
		if _, err := v.Get(store.SessionKey(sessionID(i))); err != nil {
			return err
		}
		_, err := v.Instances(store.InstanceQuery{Placeable: true, Page: store.Page{Limit: 10}})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func live(b *testing.B, s store.Store, at, i int) {
	r := session(i)
	r.Instance, r.Container, r.State = instanceID(at), containerID(at), store.SessionCreating
	count := func(tx store.Tx, by int) {
		in, _ := store.Get[*store.Instance](tx, store.InstanceKey(instanceID(at)))
		in.Sessions += by
		_ = tx.Put(in)
		c, _ := store.Get[*store.Container](tx, store.ContainerKey(containerID(at)))
		c.Sessions += by
		_ = tx.Put(c)
	}
	update(b, s, func(tx store.Tx) error {
		count(tx, +1)
		_ = tx.Put(&store.Task{ID: r.TaskID, Session: r.ID})
		return tx.Put(r)
	})
	update(b, s, func(tx store.Tx) error {
		r.State = store.SessionActive
		return tx.Put(r)
	})
	update(b, s, func(tx store.Tx) error {
		r.State, r.EndedAt = store.SessionEnded, start
		count(tx, -1)
		_ = tx.Delete(store.TaskKey(r.TaskID))
		return tx.Put(r)
	})
	update(b, s, func(tx store.Tx) error { return tx.Delete(r.Key()) })
}

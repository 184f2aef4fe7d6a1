package sqlitestore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// callers is how many pairs run at a time.
const callers = 64

// BenchmarkPair is what the provider writes for one CreateSession that joins a container and its TerminateSession: four
// Updates, with the records that these have.
//
// x_raw compares it with its own statements, prepared, in the same transactions, run by nothing but a loop. x_live
// compares it with the same among 100 sessions.
func BenchmarkPair(b *testing.B) {
	var few time.Duration
	for _, live := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("live=%d", live), func(b *testing.B) {
			base := filledFile(b, live)
			s := openCopy(b, base)
			b.ResetTimer()
			pairs(b, s, b.N)
			b.StopTimer()
			each := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(time.Second)/float64(each), "pairs/s")

			trace := record(b, base, b.N)
			raw := replay(b, base, trace) / time.Duration(b.N)
			b.ReportMetric(float64(raw)/float64(each), "x_raw")
			b.ReportMetric(float64(4*b.N)/float64(trace.commits), "updates/commit")
			if live == 100 {
				few = each
			} else if few > 0 {
				b.ReportMetric(float64(each)/float64(few), "x_live")
			}
		})
	}
}

// BenchmarkFile reports the disk space of a live session and its other records.
func BenchmarkFile(b *testing.B) {
	const live = 20_000
	info, err := os.Stat(filledFile(b, live))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.ReportMetric(float64(info.Size())/live, "B/session")
	}
}

// BenchmarkStart opens a store that a pool of 100,000 sessions on 1,000 instances has left, and reads what a provider
// reads first.
func BenchmarkStart(b *testing.B) {
	base := filledFile(b, 100_000)
	b.ResetTimer()
	for b.Loop() {
		s, err := Open(b.Context(), base)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for _, err := range store.Instances(b.Context(), s, store.InstanceQuery{}) {
			n += count(b, err)
		}
		for _, err := range store.Containers(b.Context(), s, store.ContainerQuery{}) {
			n += count(b, err)
		}
		for _, q := range []store.SessionQuery{
			{States: []store.SessionState{store.SessionCreating, store.SessionTerminating}}, {Queued: true}, {Owner: "replica-1"},
			{LeaseBefore: benchStart},
		} {
			for _, err := range store.Sessions(b.Context(), s, q) {
				n += count(b, err)
			}
		}
		if n != 1000+1000+100_000 {
			b.Fatalf("read %d records", n)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func count(b *testing.B, err error) int {
	if err != nil {
		b.Fatal(err)
	}
	return 1
}

const perInstance = 100

var benchStart = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func instanceID(i int) string  { return fmt.Sprintf("i-%020d", i/perInstance) }
func containerID(i int) string { return fmt.Sprintf("c-%020d", i/perInstance) }
func sharingName(i int) string { return fmt.Sprintf("repo-acme-project-%d-1f3a9c07qz", i/perInstance) }
func sessionID(i int) string   { return fmt.Sprintf("s-%020x", i) } // in the order in which they are made, as real ones are
func userID(i int) string      { return fmt.Sprintf("user-%d", i%50) }

func benchSession(i, at int) *store.Session {
	repository := naming.Repository{Host: "github.com", Path: fmt.Sprintf("acme/project-%d", at/perInstance)}
	return &store.Session{
		ID: sessionID(i), TaskID: fmt.Sprintf("task-%d", i), UserID: userID(i),
		SharingKey: naming.Key{Repository: repository}, Remote: "https://" + repository.String() + ".git", Branch: "main",
		Labels: map[string]string{"team": "blue"}, AuthorName: "Ada", AuthorEmail: "ada@example.com", IdleTimeout: time.Hour,
		State: store.SessionCreating, Owner: "replica-1", CreatedAt: benchStart,
		Container: containerID(at), ContainerName: sharingName(at), Instance: instanceID(at), UID: 10000 + i%perInstance, Start: "attached",
	}
}

func activate(s *store.Session, i int) {
	s.State, s.EngineID = store.SessionActive, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	s.Workdir, s.CheckedOut = "/berth/sessions/"+s.ID+"/project", "main"
	s.LeaseUntil = benchStart.Add(time.Duration(i) * time.Second)
}

// filledFile returns the database of a pool that holds n active sessions, 100 per container and instance.
func filledFile(b *testing.B, n int) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "berth.db")
	s, err := Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := 0; i < n; i += perInstance {
		err := s.Update(b.Context(), nil, func(tx store.Tx) error {
			in := &store.Instance{
				ID: instanceID(i), State: store.InstanceReady, Slots: 10 * perInstance, Sessions: perInstance, CloudID: "i-0123456789abcdef0",
				Address: "10.0.0.1", Since: benchStart, CreatedAt: benchStart,
			}
			sharing := &store.Sharing{
				ID: sharingName(i), SharingKey: benchSession(i, i).SharingKey, Containers: []string{containerID(i)}, Mirrors: []string{instanceID(i)},
			}
			c := &store.Container{
				ID: containerID(i), Name: sharingName(i), SharingKey: sharing.SharingKey, Instance: instanceID(i), State: store.ContainerReady,
				Owner: "replica-1", Remote: "https://github.com/acme/project.git", Sessions: perInstance, Since: benchStart, CreatedAt: benchStart,
			}
			for j := i; j < i+perInstance; j++ {
				r := benchSession(j, j)
				activate(r, j)
				if _, err := in.UIDs.Take(); err != nil {
					return err
				}
				_ = tx.Put(&store.Task{ID: r.TaskID, Session: r.ID})
				_ = tx.Put(r)
			}
			_ = tx.Put(&store.Pool{UID: "pool", Instances: n / perInstance, Replicas: []string{"replica-1"}})
			_ = tx.Put(in)
			_ = tx.Put(c)
			return tx.Put(sharing)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return path
}

// openCopy opens a copy of a database that no process has open.
func openCopy(b *testing.B, base string) *Store {
	b.Helper()
	text, err := os.ReadFile(base)
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "copy.db")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.Fatal(err)
	}
	s, err := Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func pairs(b *testing.B, s *Store, n int) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n {
					return
				}
				if err := pair(context.Background(), s, 1_000_000+i, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// pair is the life of session i, in the container of session at.
func pair(ctx context.Context, s store.Store, i, at int) error {
	at = at % 50 // fifty of a hundred join the one container, fifty the other, in the smallest pool
	fresh := benchSession(i, at)
	key, task, user := fresh.Key(), store.TaskKey(fresh.TaskID), store.UserKey(fresh.UserID)
	var uid int
	err := s.Update(ctx, []store.Key{store.PoolKey(), store.SharingKey(fresh.ContainerName), key, task, user}, func(tx store.Tx) error {
		if there, err := store.Find[*store.Task](tx, task); err != nil || there != nil {
			return fmt.Errorf("the task is there: %v, %w", there, err)
		}
		if _, err := store.Get[*store.Pool](tx, store.PoolKey()); err != nil {
			return err
		}
		sharing, err := store.Get[*store.Sharing](tx, store.SharingKey(fresh.ContainerName))
		if err != nil {
			return err
		}
		uid, err = join(tx, sharing.Containers[0], user, +1, 0)
		if err != nil {
			return err
		}
		r := fresh.Clone().(*store.Session)
		r.UID = uid
		if err := tx.Put(&store.Task{ID: r.TaskID, Session: r.ID}); err != nil {
			return err
		}
		return tx.Put(r)
	})
	change := func(keys []store.Key, how func(tx store.Tx, r *store.Session) error) {
		if err != nil {
			return
		}
		err = s.Update(ctx, keys, func(tx store.Tx) error {
			r, err := store.Get[*store.Session](tx, key)
			if err == nil {
				err = how(tx, r)
			}
			if err != nil {
				return err
			}
			return tx.Put(r)
		})
	}
	change([]store.Key{key, store.ContainerKey(fresh.Container)}, func(tx store.Tx, r *store.Session) error {
		activate(r, i)
		_, err := tx.Get(store.ContainerKey(r.Container))
		return err
	})
	change([]store.Key{key}, func(_ store.Tx, r *store.Session) error {
		r.State, r.End = store.SessionTerminating, store.Failure{Reason: "terminated"}
		return nil
	})
	change([]store.Key{key}, func(tx store.Tx, r *store.Session) error {
		if _, err := store.Get[*store.Task](tx, task); err != nil {
			return err
		}
		if err := tx.Delete(task); err != nil {
			return err
		}
		if _, err := join(tx, r.Container, user, -1, r.UID); err != nil {
			return err
		}
		r.State, r.EndedAt = store.SessionEnded, benchStart
		return nil
	})
	return err
}

// join counts one session more, which gets a uid, or one less, which gives it back.
func join(tx store.Tx, container string, user store.Key, by, uid int) (int, error) {
	c, err := store.Get[*store.Container](tx, store.ContainerKey(container))
	if err != nil {
		return 0, err
	}
	in, err := store.Get[*store.Instance](tx, store.InstanceKey(c.Instance))
	if err != nil {
		return 0, err
	}
	u, err := store.Find[*store.User](tx, user)
	if err != nil {
		return 0, err
	}
	if u == nil {
		u = &store.User{ID: user.ID}
	}
	c.Sessions += by
	in.Sessions += by
	u.Sessions += by
	if by > 0 {
		if uid, err = in.UIDs.Take(); err != nil {
			return 0, err
		}
	} else {
		in.UIDs.Free(uid)
	}
	if err := tx.Put(c); err != nil {
		return 0, err
	}
	if err := tx.Put(in); err != nil {
		return 0, err
	}
	if u.Sessions == 0 {
		return uid, tx.Delete(user)
	}
	return uid, tx.Put(u)
}

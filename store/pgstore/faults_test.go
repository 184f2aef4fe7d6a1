package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/pgstore"
)

// patience is how long anything may take before a test says that it hangs.
const patience = time.Minute

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// number reads a counter; -1 = it is not there.
func number(t *testing.T, s store.Store, id string) (n int) {
	t.Helper()
	return numbers(t, s, id)[0]
}

// numbers reads some counters as of one moment: a commit whose answer was lost may just be happening.
func numbers(t *testing.T, s store.Store, ids ...string) (all []int) {
	t.Helper()
	err := s.View(bounded(t), func(v store.View) error {
		all = nil
		for _, id := range ids {
			u, err := store.Find[*store.User](v, store.UserKey(id))
			switch {
			case err != nil:
				return err
			case u == nil:
				all = append(all, -1)
			default:
				all = append(all, u.Sessions)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// set puts n into some counters, in one Update.
func set(ctx context.Context, s store.Store, n int, ids ...string) error {
	var keys []store.Key
	for _, id := range ids {
		keys = append(keys, store.UserKey(id))
	}
	return s.Update(ctx, keys, func(tx store.Tx) error {
		for _, id := range ids {
			if err := tx.Put(&store.User{ID: id, Sessions: n}); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestConnectionCutAtEveryPoint breaks the connection after each message of an Update, in either direction. Either all writes are
// there or none, and the result of Update agrees with that.
func TestConnectionCutAtEveryPoint(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	db := server.Database(t)
	proxy := server.StartProxy(t)
	direct, cut := open(t, server.DSN(db), pgstore.Options{}), open(t, proxy.DSN(db), pgstore.Options{})
	if err := set(bounded(t), cut, 0, "a", "b"); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	n := 0
	for _, side := range []pgtest.Side{pgtest.Client, pgtest.Backend} {
		for at, more := 0, true; more; at++ {
			n++
			proxy.CutAfter(at, side, func(m pgtest.Message) bool { return m.Type != 'A' }) // which the listener gets
			err := set(bounded(t), cut, n, "a", "b")
			more = !proxy.Pass()
			now := numbers(t, direct, "a", "b")
			a, b := now[0], now[1]
			switch {
			case a != b:
				t.Fatalf("cut after %d messages of side %d: half of it was committed: %d, %d", at, side, a, b)
			case err == nil && a != n:
				t.Fatalf("cut after %d messages of side %d: Update succeeded, and nothing is there", at, side)
			case err == nil:
				outcomes["success"]++
			case errors.Is(err, store.ErrUnknownOutcome):
				outcomes["unknown"]++
			case a == n:
				t.Fatalf("cut after %d messages of side %d: Update failed, and it is there: %v", at, side, err)
			default:
				outcomes["failure"]++
			}
			if at > 200 {
				t.Fatal("an Update has no end")
			}
		}
	}
	t.Logf("outcomes: %v", outcomes)
	if outcomes["success"] < 5 || outcomes["unknown"] < 2 {
		t.Errorf("outcomes: %v; want successes, since what is cut early runs again, and lost answers", outcomes)
	}
}

// isCommit says whether a message is the answer to a COMMIT.
func isCommit(m pgtest.Message) bool {
	return m.Type == 'C' && strings.HasPrefix(string(m.Body), "COMMIT")
}

func TestLostAnswerOfACommitIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	db := server.Database(t)
	proxy := server.StartProxy(t)
	direct, cut := open(t, server.DSN(db), pgstore.Options{}), open(t, proxy.DSN(db), pgstore.Options{})
	if err := set(bounded(t), cut, 0, "a"); err != nil {
		t.Fatal(err)
	}
	proxy.CutAfter(0, pgtest.Backend, isCommit)
	if err := set(bounded(t), cut, 1, "a"); !errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("the answer was lost, and Update returned %v", err)
	}
	if n := number(t, direct, "a"); n != 1 {
		t.Errorf("the server has %d, want 1", n)
	}
	// An Update of the same batch that wrote nothing runs again, and so does one that has failed.
	proxy.CutAfter(0, pgtest.Backend, isCommit)
	own := errors.New("own")
	var both sync.WaitGroup
	for _, want := range []error{nil, own} {
		both.Go(func() {
			err := cut.Update(bounded(t), []store.Key{store.UserKey("a")}, func(store.Tx) error { return want })
			if !errors.Is(err, want) {
				t.Errorf("Update: %v, want %v", err, want)
			}
		})
	}
	both.Wait()
	proxy.Pass()
}

func TestTerminatedConnectionsAreMadeAgain(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	db := server.Database(t)
	s := open(t, server.DSN(db), pgstore.Options{})
	for n := range 5 {
		if err := set(bounded(t), s, n, "a"); err != nil {
			t.Fatal(err)
		}
		server.Terminate(t, db)
		if got := number(t, s, "a"); got != n {
			t.Fatalf("read %d, want %d", got, n)
		}
	}
}

// TestNothingAcknowledgedIsLost crashes the server while many write.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	db := server.Database(t)
	s := open(t, server.DSN(db), pgstore.Options{})
	const workers = 8
	var sure, unknown [workers]int
	var total atomic.Int64
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			id := fmt.Sprint(w)
			for ctx.Err() == nil {
				err := s.Update(ctx, []store.Key{store.UserKey(id)}, func(tx store.Tx) error {
					u, err := store.Find[*store.User](tx, store.UserKey(id))
					if err != nil {
						return err
					}
					if u == nil {
						u = &store.User{ID: id}
					}
					u.Sessions++
					return tx.Put(u)
				})
				switch {
				case err == nil:
					sure[w]++
					total.Add(1)
				case errors.Is(err, store.ErrUnknownOutcome):
					unknown[w]++
				case ctx.Err() == nil:
					t.Errorf("Update: %v", err)
					return
				}
			}
		})
	}
	for range 3 {
		begun := total.Load()
		await(t, "some are answered", func() bool { return total.Load() > begun+50 })
		if err := server.Crash(); err != nil {
			t.Fatal(err)
		}
		if err := server.Up(); err != nil {
			t.Fatal(err)
		}
	}
	begun := total.Load()
	await(t, "some are answered after the last crash", func() bool { return total.Load() > begun+50 })
	cancel()
	all.Wait()
	for w := range workers {
		if n := number(t, s, fmt.Sprint(w)); n < sure[w] || n > sure[w]+unknown[w] {
			t.Errorf("worker %d was told of %d, and does not know of %d: there are %d", w, sure[w], unknown[w], n)
		}
	}
}

// await waits until something holds. It may hold only once.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it does not hold that %s", patience, what)
		}
	}
}

// TestNobodyWaitsLongerThanAsked lets the server fall silent.
func TestNobodyWaitsLongerThanAsked(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	db := server.Database(t)
	proxy := server.StartProxy(t)
	s := open(t, proxy.DSN(db), pgstore.Options{})
	if err := set(bounded(t), s, 1, "a"); err != nil {
		t.Fatal(err)
	}
	proxy.Mute()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := set(ctx, s, 2, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Update of a silent server: %v", err)
	}
	err := s.View(ctx, func(store.View) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("View of a silent server: %v", err)
	}
	proxy.Refuse() // what is under way ends
	proxy.Pass()
	if n := number(t, s, "a"); n != 1 {
		t.Errorf("an Update that was given up has written %d", n)
	}
}

func TestWatchersWakeWhenTheConnectionIsBack(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	db := server.Database(t)
	proxy := server.StartProxy(t)
	direct, cut := open(t, server.DSN(db), pgstore.Options{}), open(t, proxy.DSN(db), pgstore.Options{})
	wake, stop := cut.Notify(store.UserKey("a"))
	defer stop()
	see := func(n int) {
		t.Helper()
		for number(t, cut, "a") != n {
			select {
			case <-wake:
			case <-time.After(patience):
				t.Fatalf("no wake for the commit of %d", n)
			}
		}
	}
	if err := set(bounded(t), direct, 1, "a"); err != nil {
		t.Fatal(err)
	}
	see(1)
	proxy.Refuse()
	if err := set(bounded(t), direct, 2, "a"); err != nil {
		t.Fatal(err)
	}
	proxy.Pass()
	see(2)
	if err := set(bounded(t), direct, 3, "a"); err != nil {
		t.Fatal(err)
	}
	see(3)
}

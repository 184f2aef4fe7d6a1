package fake_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
)

// TestSameSeedSameRun holds the fakes to what a simulation needs: when the hook decides by a hash of the call, and
// gives each call a delay of its own, the run depends on nothing but the seed.
func TestSameSeedSameRun(t *testing.T) {
	traces := make(map[string]bool)
	for range 20 {
		synctest.Test(t, func(t *testing.T) { traces[trace(t, 1)] = true })
	}
	if len(traces) != 1 {
		t.Errorf("one seed gave %d different runs", len(traces))
	}
	synctest.Test(t, func(t *testing.T) { traces[trace(t, 2)] = true })
	if len(traces) != 2 {
		t.Error("another seed gave the same run")
	}
}

// trace returns a digest of all calls of a run in their order, with their times.
func trace(t *testing.T, seed uint64) string {
	var mu sync.Mutex
	digest := sha256.New()
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(digest, "%d ", time.Since(epoch))
		fmt.Fprintf(digest, format+"\n", args...)
	}
	draw := func(what any) uint64 {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %v", seed, what))
		return binary.BigEndian.Uint64(sum[:])
	}
	hook := func(call fake.Call) fake.Fault {
		note("%v", call)
		n := draw(call)
		f := fake.Fault{Delay: time.Duration(n % 1e9)}
		switch n >> 60 {
		case 0:
			f.Before = fmt.Errorf("before %v", call.Verb)
		case 1:
			f.After = fmt.Errorf("after %v", call.Verb)
		}
		return f
	}
	c := fake.NewCloud(fake.CloudOptions{Fault: hook})
	e := fake.NewEngine(fake.EngineOptions{Cloud: c, Fault: hook, Run: func(ctx context.Context, _ fake.Command) int {
		<-ctx.Done()
		return 0
	}})
	var all sync.WaitGroup
	for i := range 12 {
		actor := fmt.Sprintf("actor-%d", i)
		all.Go(func() {
			time.Sleep(time.Duration(draw(actor) % 1e9))
			work(t.Context(), c.As(actor), e.As(actor), i, note)
		})
	}
	all.Wait()
	e.Close()
	return string(digest.Sum(nil))
}

// work is one actor: it launches a machine that two others launch too, and uses it.
func work(ctx context.Context, c pool.Cloud, e orchestrator.Engine, actor int, note func(string, ...any)) {
	id := fmt.Sprintf("launch-%d", actor%4)
	try := func(what string, call func() error) {
		for range 20 {
			err := call()
			note("%d %s %v", actor, what, err)
			if err == nil {
				return
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	var f pool.Frozen
	var m pool.Machine
	var h orchestrator.Host
	var in orchestrator.Inside
	try("prepare", func() (err error) {
		f, err = c.Prepare(ctx, pool.Spec{Pool: "p", LaunchID: id})
		return err
	})
	try("launch", func() (err error) { m, err = c.Launch(ctx, id, f); return err })
	for m.Address == "" && ctx.Err() == nil {
		list, _ := c.List(ctx)
		for _, listed := range list {
			if listed.LaunchID == id {
				m = listed
			}
		}
	}
	try("connect", func() (err error) {
		h, err = e.Connect(ctx, orchestrator.Endpoint{Pool: "p", PoolUID: "u", Launch: id, Address: m.Address})
		return err
	})
	key := naming.Key{Repository: naming.Repository{Host: "github.com", Path: "a/b"}}
	try("ensure", func() error {
		_, err := h.Ensure(ctx, orchestrator.ContainerSpec{Name: key.ContainerName("p"), Key: key}, nil)
		return err
	})
	try("attach", func() (err error) { in, err = h.Attach(ctx, key.ContainerName("p")); return err })
	try("fetch", func() error {
		_, err := in.Fetch(ctx, agent.Fetch{URL: "https://github.com/a/b", MaxAge: time.Second}, nil)
		return err
	})
	s := agent.Session{ID: fmt.Sprintf("s-%d", actor), UID: 10000 + actor, Dir: "b"}
	try("open", func() error { _, err := in.Open(ctx, s); return err })
	var p orchestrator.Process
	try("start", func() (err error) {
		p, err = in.Start(ctx, agent.Command{Session: s.ID, Args: []string{"x"}})
		return err
	})
	try("close", func() error { return in.CloseSession(ctx, s.ID, s.UID) })
	try("wait", func() error { _, err := p.Wait(); return err })
}

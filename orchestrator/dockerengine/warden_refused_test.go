package dockerengine_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// refusing is a stub that refuses the warden, and counts how often it was asked for one.
func refusing(t *testing.T) *stub {
	s := newStub(t)
	s.whole(func(string) (int, string, bool) { return 0, "", false })
	whole := s.also
	s.also = func(w http.ResponseWriter, r *http.Request) bool {
		reply := func(code int, body string) bool {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			w.Write([]byte(body))
			return true
		}
		switch call := call(r); {
		case call == "GET /containers/ID/json" && strings.Contains(r.URL.Path, "/berth-warden-"):
			return reply(404, `{"message":"no such container"}`)
		case call == "GET /volumes/ID" && strings.Contains(r.URL.Path, "/berth-warden-"):
			return reply(404, `{"message":"no such volume"}`)
		case call == "POST /containers/create" && strings.HasPrefix(r.URL.Query().Get("name"), "berth-warden-"):
			s.count("warden")
			return reply(403, `{"message":"authorization denied by plugin policy: no host pid namespace"}`)
		}
		return whole(w, r)
	}
	return s
}

func TestEngineThatRefusesTheWarden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := refusing(t)
		h := s.connectWith(t, dockerengine.Options{Logger: testLogger(t)})
		key, err := naming.ParseKey(stubKey)
		if err != nil {
			t.Fatal(err)
		}
		spec := orchestrator.ContainerSpec{Name: "c2", Key: key, Image: "image", RequireIsolation: true}
		ensure := func() error {
			_, err := h.Ensure(t.Context(), spec, nil)
			return err
		}
		for range 3 {
			err := ensure()
			refused, ok := errors.AsType[*orchestrator.IsolationError](err)
			if !ok || !errors.Is(err, orchestrator.ErrNoIsolation) || !strings.Contains(refused.Reason, "denied by plugin policy") {
				t.Fatalf("Ensure: %v; want the engine's words", err)
			}
		}
		if n := s.times("warden"); n != 1 {
			t.Errorf("the engine was asked %d times for a warden that it refuses", n)
		}
		if n := s.times("POST /containers/create"); n > 2 { // the warden and the helper
			t.Errorf("%d containers were made", n)
		}
		time.Sleep(11 * time.Minute)
		if err := ensure(); !errors.Is(err, orchestrator.ErrNoIsolation) {
			t.Errorf("Ensure: %v", err)
		}
		if n := s.times("warden"); n != 2 {
			t.Errorf("after a while, the engine was asked %d times; want 2", n)
		}
		spec.RequireIsolation = false // then the start goes on without
		if err := ensure(); errors.Is(err, orchestrator.ErrNoIsolation) {
			t.Errorf("Ensure: %v", err)
		}
	})
}

func TestRuntimes(t *testing.T) {
	for _, c := range []struct {
		runtime string
		want    error
		words   string
	}{
		{"runsc", orchestrator.ErrRuntime, `"runsc", only io.containerd.runc.v2, kata, runc. Add it to the engine's daemon.json`},
		{"kata", orchestrator.ErrNoIsolation, "with the runtime kata the warden cannot open rooms"},
		{"runc", orchestrator.ErrNoIsolation, "denied by plugin policy"}, // the warden was tried
	} {
		synctest.Test(t, func(t *testing.T) {
			s := refusing(t)
			stub := s.also
			s.also = func(w http.ResponseWriter, r *http.Request) bool {
				if call(r) != "GET /info" {
					return stub(w, r)
				}
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"ID":"engine-1","OSType":"linux","Architecture":"x86_64","Labels":["berth.launch=launch-1"],
					"Runtimes":{"runc":{},"kata":{},"io.containerd.runc.v2":{}}}`))
				return true
			}
			key, _ := naming.ParseKey(stubKey)
			h := s.connectWith(t, dockerengine.Options{Runtime: c.runtime, Logger: testLogger(t)})
			_, err := h.Ensure(t.Context(), orchestrator.ContainerSpec{Name: "c2", Key: key, Image: "image", RequireIsolation: true}, nil)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s: %v; want %v, and %q", c.runtime, err, c.want, c.words)
			}
			if n := s.times("warden"); (n > 0) != (c.runtime == "runc") {
				t.Errorf("%s: the engine was asked %d times for a warden", c.runtime, n)
			}
		})
	}
}

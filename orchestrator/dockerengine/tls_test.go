package dockerengine_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// secure is a stub that proves by TLS that it belongs to stubLaunch.
type secure struct {
	*stub
	launch, clients *authority
	opts            dockerengine.Options
	at              orchestrator.Endpoint
}

func newSecure(t *testing.T) *secure {
	s := &secure{stub: newStub(t), launch: newAuthority(t), clients: newAuthority(t)}
	s.tls = s.config(s.launch.server(stubLaunch))
	s.opts = dockerengine.Options{Dialer: s.dial, TLS: verify(s.clients.client()), Logger: testLogger(t)}
	s.at = s.endpoint()
	s.at.Trust = s.launch.pem()
	return s
}

func (s *secure) config(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: s.clients.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

func TestOnlyTheMachineThatWasLaunchedIsTrusted(t *testing.T) {
	cause := errors.New("no key")
	for _, c := range []struct {
		what   string
		change func(*secure)
		is     error  // nil = any
		says   string // what the error says; is and says both empty = the engine is trusted
	}{
		{"the right one", func(*secure) {}, nil, ""},
		{"a stranger of the same name", func(s *secure) { s.tls = s.config(newAuthority(s.launch.t).server(stubLaunch)) }, orchestrator.ErrWrongHost, ""},
		{"another launch of the same authority", func(s *secure) { s.tls = s.config(s.launch.server("launch-2")) }, orchestrator.ErrWrongHost, ""},
		{"another launch's authority", func(s *secure) { s.at.Trust = newAuthority(s.launch.t).pem() }, orchestrator.ErrWrongHost, ""},
		{"an engine without TLS", func(s *secure) { s.tls = nil }, orchestrator.ErrWrongHost, "TLS"},
		{"an engine without a label", func(s *secure) { s.labels = []string{"zone=a"} }, orchestrator.ErrWrongHost, "label"},
		{"an engine with another launch's label", func(s *secure) { s.labels = []string{"berth.launch=launch-2"} }, orchestrator.ErrWrongHost, "launch-2"},
		{"a certificate that has expired", func(s *secure) {
			s.tls = s.config(s.launch.issue(&x509.Certificate{
				DNSNames: []string{serverName(stubLaunch)}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
			}))
		}, nil, "wrong time"},
		{"an engine that does not let us in", func(s *secure) { s.opts.TLS = verify(newAuthority(s.launch.t).client()) }, nil, "this program's certificate"},
		{"nobody who says what is right", func(s *secure) { s.opts.TLS = nil }, nil, "Options.TLS"},
		{"a failure to say what is right", func(s *secure) {
			s.opts.TLS = func(string, string) (*tls.Config, error) { return nil, cause }
		}, cause, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSecure(t)
				c.change(s)
				h, err := dockerengine.New(s.opts).Connect(t.Context(), s.at)
				if err == nil {
					defer h.Close()
				}
				trusted := c.is == nil && c.says == ""
				switch {
				case trusted && err != nil:
					t.Error(err)
				case trusted:
				case err == nil:
					t.Error("it is trusted")
				case c.is != nil && !errors.Is(err, c.is), !strings.Contains(err.Error(), c.says), !strings.Contains(err.Error(), stubAddress):
					t.Errorf("the error is %v; want one that is %v, says %q and names the address", err, c.is, c.says)
				}
			})
		})
	}
}

func TestEngineThatWasSetUpAnewIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSecure(t)
		e := dockerengine.New(s.opts)
		h, err := e.Connect(t.Context(), s.at)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if err := h.Probe(t.Context()); err != nil {
			t.Error(err)
		}
		s.set(func() { s.id = "engine-2" })
		if err := h.Probe(t.Context()); !errors.Is(err, orchestrator.ErrWrongHost) || !strings.Contains(err.Error(), "engine-2") {
			t.Errorf("probing an engine that has another ID: %v", err)
		}
		if _, err := e.Connect(t.Context(), s.at); !errors.Is(err, orchestrator.ErrWrongHost) {
			t.Errorf("connecting to an engine that has another ID: %v", err)
		}
		s.set(func() { s.id = "engine-1" })
		if err := h.Probe(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestHandshakeThatHangs is about a machine that accepts connections and sends nothing.
func TestHandshakeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSecure(t)
		s.containers = []string{"c"}
		e := dockerengine.New(s.opts)
		h, err := e.Connect(t.Context(), s.at)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		spec := orchestrator.ContainerSpec{Name: "c", Image: "i"}
		calls := map[string]func(context.Context) error{
			"Connect":      func(ctx context.Context) error { _, err := e.Connect(ctx, s.at); return err },
			"Probe":        h.Probe,
			"List":         func(ctx context.Context) error { _, err := h.List(ctx); return err },
			"Ensure":       func(ctx context.Context) error { _, err := h.Ensure(ctx, spec, nil); return err },
			"Attach":       func(ctx context.Context) error { _, err := h.Attach(ctx, "c"); return err },
			"Remove":       func(ctx context.Context) error { return h.Remove(ctx, "c", "") },
			"RemoveMirror": func(ctx context.Context) error { return h.RemoveMirror(ctx, "c") },
			"Purge":        h.Purge,
			"Prefetch": func(ctx context.Context) error {
				return h.(orchestrator.Prefetcher).Prefetch(ctx, "i", nil)
			},
		}
		check := func(what string, ctx context.Context, limit time.Duration, call func(context.Context) error) {
			t.Helper()
			began := time.Now()
			err := call(ctx)
			if took := time.Since(began); err == nil || took > limit {
				t.Errorf("%s returned after %v: %v", what, took, err)
			}
		}

		// The engine answers on the open connection. Attaching needs another.
		if err := h.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.set(func() { s.mute = true })
		dials := s.times("dial")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		check("Attach, of whose exec the handshake hangs,", ctx, 3*time.Second, calls["Attach"])
		if s.times("inspect c") == 0 || s.times("dial") == dials {
			t.Error("Attach has not come so far as to dial")
		}

		time.Sleep(time.Minute) // the open connections are closed before that
		for what, call := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			check(what+" with a deadline", ctx, 4*time.Second, call) // Ensure waits leaveGrace until it is undone
			cancel()
			check(what+" without one", context.Background(), 3*time.Minute, call)
		}
		s.set(func() { s.mute = false })
		if err := h.Probe(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

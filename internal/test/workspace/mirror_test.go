package workspace

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// serveDebs starts a mirror whose handler gets the number of the request.
func serveDebs(t *testing.T, handle func(n int64, w http.ResponseWriter)) (*mirror, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { handle(requests.Add(1), w) }))
	t.Cleanup(server.Close)
	return &mirror{url: server.URL, cache: t.TempDir(), client: server.Client()}, &requests
}

func TestFetchTriesAgainAndKeepsWhatItGot(t *testing.T) {
	content := []byte("the package")
	p := &debPackage{Name: "p", Filename: "pool/p.deb", Size: int64(len(content)), SHA256: checksum(content)}
	m, requests := serveDebs(t, func(n int64, w http.ResponseWriter) {
		switch n {
		case 1:
			w.WriteHeader(http.StatusBadGateway)
		case 2:
			w.Write(content[:4]) // a proxy that cuts
		default:
			w.Write(content)
		}
	})
	for range 2 {
		got, err := m.fetchOne(t.Context(), p)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("fetch gives %q, %v", got, err)
		}
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3: the second fetch is served from the cache", n)
	}
	kept := filepath.Join(m.cache, p.SHA256+".deb")
	if err := os.WriteFile(kept, []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := m.fetchOne(t.Context(), p); err != nil || !bytes.Equal(got, content) {
		t.Errorf("with a spoilt cache fetch gives %q, %v", got, err)
	}
}

func TestFetchRefusesWhatTheIndexDoesNotName(t *testing.T) {
	p := &debPackage{Name: "p", Filename: "pool/p.deb", Size: 3, SHA256: checksum([]byte("abc"))}
	ctx, cancel := context.WithCancel(t.Context())
	m, requests := serveDebs(t, func(_ int64, w http.ResponseWriter) {
		w.Write([]byte("something else"))
		cancel() // or it would try again
	})
	if _, err := m.fetchOne(ctx, p); err == nil {
		t.Error("a package with the wrong checksum was accepted")
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests after the context ended, want 1", n)
	}

	missing, requests := serveDebs(t, func(_ int64, w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) })
	if _, err := missing.fetch(t.Context(), []*debPackage{p}, func(string) {}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a package that is not there gives %v", err)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests for what is not there, want 1", n)
	}
}

package local_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
)

// tarball returns a package for npm with one module, planted, uncompressed, and what a lock file says of it.
func tarball(t *testing.T, module string) (packed []byte, integrity string) {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, f := range [][2]string{{"package/package.json", `{"name":"planted","version":"1.0.0"}`}, {"package/index.js", module}} {
		err := w.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))})
		if err == nil {
			_, err = io.WriteString(w, f[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(b.Bytes())
	return b.Bytes(), "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// lockFile returns a package.json that needs planted, and its package-lock.json.
func lockFile(t *testing.T, tarball, integrity string) map[string]string {
	t.Helper()
	needs := map[string]any{"name": "shop", "version": "1.0.0", "dependencies": map[string]string{"planted": "1.0.0"}}
	files := make(map[string]string)
	for name, content := range map[string]any{
		"package.json": needs,
		"package-lock.json": map[string]any{
			"name": "shop", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
			"packages": map[string]any{
				"":                     needs,
				"node_modules/planted": map[string]string{"version": "1.0.0", "resolved": tarball, "integrity": integrity},
			},
		},
	} {
		text, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	return files
}

// TestLocalNPMSharesItsCache has a real npm: what the fill has downloaded no session downloads again. A session that changes all of its
// cache changes nothing that it or another installs: npm compares what is in its cache with the lock file, and downloads it again.
func TestLocalNPMSharesItsCache(t *testing.T) {
	if !testenv.Soak() {
		t.Skip("its image has 450 packages, which take a minute: BERTH_SOAK=1 runs it")
	}
	t.Parallel()
	image := testenv.ImageWith(t, "npm")
	packed, integrity := tarball(t, "module.exports = 'honest'\n")
	downloads := new(atomic.Int64)
	const file = "/planted/-/planted-1.0.0.tgz"
	registry := serveHTTP(t, map[string]http.HandlerFunc{file: func(w http.ResponseWriter, _ *http.Request) {
		downloads.Add(1)
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(packed)
	}})
	l, filled := newWithCache(t, image, orchestrator.NPM(), map[string]string{"npm_config_registry": "http://" + registry + "/", "npm_config_update_notifier": "false"})
	remote := l.Git.Create("org/node", gittest.Files(lockFile(t, "http://"+registry+file, integrity)))
	l.Create("first", remote.URL(), "")
	filled()
	check := func(s *berth.Session, want int64) {
		t.Helper()
		if got := local.Sh(t, s, `out=$(npm ci --ignore-scripts --no-audit --no-fund 2>&1) || echo "$out"; node -p 'require("planted")'`); got != "honest" {
			t.Errorf("the package that npm has installed says %q", got)
		}
		if n := downloads.Load(); n != want {
			t.Errorf("the package was downloaded %d times; want %d", n, want)
		}
	}
	second, third := l.Create("second", remote.URL(), ""), l.Create("third", remote.URL(), "")
	check(second, 1)
	if got := local.Sh(t, second, `cd ~/.npm && grep -rl honest . | xargs sed -i "s/honest/damage/" && grep -rl damage . | wc -l`); got == "0" {
		t.Errorf("the session has changed nothing in its cache")
	}
	check(second, 2)
	check(third, 2)
	check(l.Create("fourth", remote.URL(), ""), 2)
}

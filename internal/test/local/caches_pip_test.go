package local_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
)

// wheel returns a package for pip with one module, planted, uncompressed.
func wheel(t *testing.T, module string) []byte {
	t.Helper()
	const info = "planted-1.0.dist-info/"
	files := [][2]string{
		{"planted.py", module},
		{info + "METADATA", "Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: berth\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
	}
	record := ""
	for _, f := range files {
		sum := sha256.Sum256([]byte(f[1]))
		record += fmt.Sprintf("%s,sha256=%s,%d\n", f[0], base64.RawURLEncoding.EncodeToString(sum[:]), len(f[1]))
	}
	files = append(files, [2]string{info + "RECORD", record + info + "RECORD,,\n"})
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f[0], Method: zip.Store})
		if err == nil {
			_, err = io.WriteString(w, f[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// serveHTTP serves where containers reach it, and returns the address.
func serveHTTP(t *testing.T, handlers map[string]http.HandlerFunc) (address string) {
	t.Helper()
	git, err := url.Parse(gittest.NewSmartServer(t).Create("org/x", gittest.Small()).URL())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := netip.ParseAddr(git.Hostname()); err != nil {
		testenv.Missing(t, "needs an engine that reaches this machine by an address: %v", err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(git.Hostname(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for path, handler := range handlers {
		mux.HandleFunc(path, handler)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: mux}}
	server.Start()
	t.Cleanup(server.Close)
	return l.Addr().String()
}

// servePackages serves an index with one package, and counts the downloads of the package.
func servePackages(t *testing.T, packed []byte) (address string, downloads *atomic.Int64) {
	t.Helper()
	downloads = new(atomic.Int64)
	const file = "/files/planted-1.0-py3-none-any.whl"
	return serveHTTP(t, map[string]http.HandlerFunc{
		"/simple/planted/": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<!DOCTYPE html><html><body><a href="%s#sha256=%x">planted-1.0-py3-none-any.whl</a></body></html>`, file, sha256.Sum256(packed))
		},
		file: func(w http.ResponseWriter, _ *http.Request) {
			downloads.Add(1)
			w.Header().Set("Cache-Control", "max-age=31536000, immutable, public") // as PyPI says of its files
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Write(packed)
		},
	}), downloads
}

// TestLocalPipSharesItsCache has a real pip: what the fill has downloaded no session downloads again, and a session that changes all
// of its cache changes what it installs itself, at most. Its image takes longer to make than most tests, so that only "make soak" does.
func TestLocalPipSharesItsCache(t *testing.T) {
	if !testenv.Soak() {
		t.Skip("a test of make soak: it installs python3-pip")
	}
	t.Parallel()
	image := testenv.ImageWith(t, "python3-pip")
	packed := wheel(t, "words = 'honest'\n")
	index, downloads := servePackages(t, packed)
	l, filled := newWithCache(t, image, orchestrator.Pip(), map[string]string{"PIP_INDEX_URL": "http://" + index + "/simple/", "PIP_TRUSTED_HOST": index, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
	remote := l.Git.Create("org/python", gittest.Files(map[string]string{
		"requirements.txt": fmt.Sprintf("planted==1.0 --hash=sha256:%x\n", sha256.Sum256(packed)),
	}))
	l.Create("first", remote.URL(), "")
	filled()
	const install = "cd $(mktemp -d) && python3 -m pip install --quiet --target . --requirement $OLDPWD/requirements.txt && python3 -c 'import planted; print(planted.words)'"
	check := func(s *berth.Session) {
		t.Helper()
		if got := local.Sh(t, s, install); got != "honest" {
			t.Errorf("the package that pip has installed says %q", got)
		}
		if n := downloads.Load(); n != 1 {
			t.Errorf("the package was downloaded %d times", n)
		}
	}
	second, third := l.Create("second", remote.URL(), ""), l.Create("third", remote.URL(), "")
	check(second)
	if got := local.Sh(t, second, `cd ~/.cache/pip && grep -rl honest . | xargs sed -i "s/'honest'/'damage'/" && grep -rl damage . | wc -l`); got == "0" {
		t.Errorf("the session has changed nothing in its cache")
	}
	if out, err := second.Command(t.Context(), "sh", "-c", install).CombinedOutput(); err == nil {
		t.Errorf("pip does not compare hashes with its cache: %s", out)
	}
	check(third)
	check(l.Create("fourth", remote.URL(), ""))
}

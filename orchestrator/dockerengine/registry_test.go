package dockerengine_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/testenv"
)

const (
	registryUser     = "puller"
	registryPassword = "pull-s3cret"
	registryToken    = "bearer-t0ken"
)

// registry serves one tiny image in the OCI distribution protocol to clients with the right password. Engines accept a
// registry without TLS if it listens on loopback.
type registry struct {
	image string // its reference

	blobs    map[string][]byte // by digest
	manifest []byte
	bearer   bool // it asks for a token, as public registries do, and not for the password

	mu    sync.Mutex     // protects the fields below
	cut   int            // how many of the next answers end in the middle
	busy  int            // how many of the next answers say that there were too many requests
	pulls map[string]int // how often things were sent in full: "manifest" or a digest
}

func startRegistry(t *testing.T, bearer bool) *registry {
	t.Helper()
	r := &registry{blobs: map[string][]byte{}, bearer: bearer, pulls: map[string]int{}}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	content := rand.Text() // no other test's image has this layer
	if err := w.WriteHeader(&tar.Header{Name: "unique", Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, content)
	w.Close()
	config := encode(t, map[string]any{
		"os": "linux", "architecture": runtime.GOARCH,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer.Bytes())}},
	})
	descriptor := func(kind string, content []byte) map[string]any {
		d := digest(content)
		r.blobs[d] = content
		return map[string]any{"mediaType": kind, "digest": d, "size": len(content)}
	}
	r.manifest = encode(t, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": descriptor("application/vnd.docker.container.image.v1+json", config),
		"layers": []any{descriptor("application/vnd.docker.image.rootfs.diff.tar", layer.Bytes())},
	})
	server := httptest.NewServer(r)
	r.image = strings.TrimPrefix(server.URL, "http://") + "/private/tiny:1"
	docker := testenv.Docker(t)
	t.Cleanup(func() {
		server.Close()
		_, err := docker.ImageRemove(context.Background(), r.image, client.ImageRemoveOptions{Force: true})
		if err != nil && !errdefs.IsNotFound(err) {
			t.Error(err)
		}
	})
	return r
}

const manifestType = "application/vnd.docker.distribution.manifest.v2+json"

func encode(t *testing.T, value any) []byte {
	t.Helper()
	b, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ServeHTTP implements [http.Handler]. Its refusals contain secrets, as those of some registries do.
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	user, password, _ := req.BasicAuth()
	known := user == registryUser && password == registryPassword
	admitted := known
	challenge := `Basic realm="registry"`
	if r.bearer {
		admitted = req.Header.Get("Authorization") == "Bearer "+registryToken
		challenge = fmt.Sprintf(`Bearer realm="http://%s/token",service="registry",scope="repository:private/tiny:pull"`, req.Host)
	}
	rest, ours := strings.CutPrefix(req.URL.Path, "/v2/private/tiny/")
	kind, reference, _ := strings.Cut(rest, "/")
	switch {
	case req.URL.Path == "/token" && known:
		fmt.Fprintf(w, `{"token":%q}`, registryToken)
	case req.URL.Path == "/token" || !admitted:
		w.Header().Set("WWW-Authenticate", challenge)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "not with the password "+password)
	case req.URL.Path == "/v2/":
	case ours && kind == "manifests" && (reference == "1" || reference == digest(r.manifest)):
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", digest(r.manifest))
		r.send(w, req, "manifest", r.manifest)
	case ours && kind == "blobs" && r.blobs[reference] != nil:
		r.send(w, req, reference, r.blobs[reference])
	default:
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "not here")
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
}

func (r *registry) send(w http.ResponseWriter, req *http.Request, what string, content []byte) {
	if req.Method == http.MethodHead {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.cut > 0:
		r.cut--
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:len(content)/2])
		panic(http.ErrAbortHandler)
	case r.busy > 0:
		r.busy--
		refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down")
	default:
		r.pulls[what]++
		w.Write(content)
	}
}

// most returns how often the most frequently sent thing was sent.
func (r *registry) most() (most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.pulls {
		most = max(most, n)
	}
	return most
}

package dockerengine_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/orchestrator"
)

// starts makes the container of an image run and attaches to it.
func starts(t *testing.T, h orchestrator.Host, spec orchestrator.ContainerSpec) orchestrator.Inside {
	t.Helper()
	if _, err := h.Ensure(t.Context(), spec, nil); err != nil {
		t.Fatalf("Ensure: %v", err)
	}
	in, err := h.Attach(t.Context(), spec.Name)
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	return in
}

// prints runs a shell script in a session and returns its output.
func prints(t *testing.T, in orchestrator.Inside, session, script string) string {
	t.Helper()
	var out bytes.Buffer
	p, err := in.Start(t.Context(), agent.Command{Session: session, Args: []string{"sh", "-c", script}, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestTasksInTheLayoutsOfOfficialImages checks directories that everybody may write to, as in the images of Go, Rust and
// Ruby, and directories below the homes of root and of another user.
func TestTasksInTheLayoutsOfOfficialImages(t *testing.T) {
	docker, h, spec := connected(t)
	spec.Image = imageWith(t, docker, spec.Image, spec.Name+":layouts", `
		mkdir -p /go/src /go/bin /usr/local/cargo/bin /usr/local/rustup/toolchains /usr/local/bundle /home/node/.npm /opt/a/b/c/d/cache /data
		printf '#!/bin/sh\necho tool of the image\n' >/go/bin/image-tool; chmod 755 /go/bin/image-tool
		echo '[net]' >/usr/local/cargo/config.toml; echo kept >/opt/a/b/c/d/cache/kept
		chmod 1777 /go /go/src /go/bin /usr/local/bundle /data /opt/a/b/c/d/cache; chmod 777 /usr/local/cargo /usr/local/cargo/bin /usr/local/rustup
		mkdir -p /root/.cargo/bin; printf '#!/bin/sh\n' >/root/.cargo/bin/rustc; chmod 755 /root/.cargo/bin/rustc; chmod 700 /root
		echo node:x:1000:1000::/home/node:/bin/sh >>/etc/passwd`,
		"GOPATH=/go", "CARGO_HOME=/usr/local/cargo", "RUSTUP_HOME=/usr/local/rustup", "GEM_HOME=/usr/local/bundle",
		"npm_config_cache=/home/node/.npm", "MODELS_DIR=/data", "DEEP_DIR=/opt/a/b/c/d/cache", "BASH_ENV=/root/.bashrc",
		"XDG_CONFIG_HOME=/root/.config", "XDG_CACHE_HOME=/home/node/.cache", "KUBECONFIG=/root/.kube/config",
		"PATH=/go/bin:/usr/local/cargo/bin:/root/.cargo/bin:/usr/local/bin:/usr/bin:/bin")
	remote := gittest.NewSmartServer(t).Create("acme/widgets", gittest.Files(map[string]string{"README": "Widgets.\n"}))
	in := starts(t, h, spec)
	readOnly, written := "", "berth20002\n"
	if roomy(t, docker, spec.Name) { // a session in a room cannot write to the image's directories
		readOnly, written = "read-only\n", ""
	}
	if _, err := in.Fetch(t.Context(), agent.Fetch{URL: remote.URL()}, nil); err != nil {
		t.Fatal(err)
	}
	sessions := []agent.Session{{ID: "s1", UID: 20001, Dir: "widgets", URL: remote.URL()}, {ID: "s2", UID: 20002, Dir: "widgets", URL: remote.URL()}}
	for _, s := range sessions {
		if _, err := in.Open(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range sessions {
		got := prints(t, in, s.ID, `
			for name in GOPATH CARGO_HOME GEM_HOME npm_config_cache MODELS_DIR XDG_CONFIG_HOME XDG_CACHE_HOME; do
				eval "dir=\$$name"; case $dir in $HOME/*) ;; *) echo "$name is $dir" ;; esac
				mkdir -p "$dir/made/here" && echo mine >"$dir/made/here/file" || echo "$name cannot be used"
			done
			mkdir -p $GOPATH/bin; printf '#!/bin/sh\necho own tool\n' >$GOPATH/bin/own-tool; chmod +x $GOPATH/bin/own-tool
			own-tool; image-tool; cat $CARGO_HOME/config.toml; echo $RUSTUP_HOME "$KUBECONFIG$BASH_ENV"
			echo $DEEP_DIR; (echo mine >$DEEP_DIR/$USER) 2>/dev/null || echo read-only; git status --short; umask`)
		want := "own tool\ntool of the image\n[net]\n/usr/local/rustup \n/opt/a/b/c/d/cache\n" + readOnly + "0022\n"
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", s.ID, got, want)
		}
	}
	_, err := in.Start(t.Context(), agent.Command{Session: "s1", Args: []string{"rustc"}})
	if !errors.Is(err, agent.ErrNotExecutable) || !strings.Contains(err.Error(), "/root/.cargo/bin/rustc lies below /root, which only root may enter") {
		t.Errorf("a tool below /root: %v", err)
	}
	if err := in.CloseSession(t.Context(), "s1", 20001); err != nil {
		t.Fatal(err)
	}
	got := prints(t, in, "s2", "find /go /usr/local /data /opt -uid 20001; ls /opt/a/b/c/d/cache /go/bin /data")
	if want := "/data:\n\n/go/bin:\nimage-tool\n\n/opt/a/b/c/d/cache:\n" + written + "kept\n"; got != want {
		t.Errorf("after the first has ended, the second finds\n%s\nwant\n%s", got, want)
	}
}

// corporate serves a git server over TLS, with a certificate that no image trusts, and returns its URL and the PEM.
func corporate(t *testing.T, remote *gittest.Remote) (address, certificate string) {
	t.Helper()
	server, err := url.Parse(remote.URL())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.ParseIP(server.Hostname())},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(server.Hostname(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: server.Host})
	}})
	s.Listener.Close()
	s.Listener = listener
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL + server.Path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestPrivateCertificates checks certificates that are trusted by a variable, which the image or the fetch sets.
func TestPrivateCertificates(t *testing.T) {
	docker, h, spec := connected(t)
	remote := gittest.NewSmartServer(t).Create("acme/widgets", gittest.Files(map[string]string{"README": "Widgets.\n"}))
	address, certificate := corporate(t, remote)
	write := "printf '%s' '" + certificate + "' >/etc/corporate.pem"
	plain := imageWith(t, docker, spec.Image, spec.Name+":with-a-file", write)
	trusting := imageWith(t, docker, spec.Image, spec.Name+":with-a-variable", write, "GIT_SSL_CAINFO=/etc/corporate.pem")
	for _, c := range []struct {
		image string
		env   map[string]string
		works bool
	}{
		{plain, nil, false},
		{plain, map[string]string{"GIT_SSL_CAINFO": "/etc/corporate.pem"}, true},
		{plain, map[string]string{"GIT_SSL_NO_VERIFY": "1"}, true},
		{trusting, nil, true},
		{trusting, map[string]string{"GIT_SSL_CAINFO": "/etc/passwd"}, false},
	} {
		spec.Image = c.image
		in := starts(t, h, spec)
		_, err := in.Fetch(t.Context(), agent.Fetch{URL: address, Env: c.env}, nil)
		var git *agent.GitError
		if c.works && err != nil || !c.works && !errors.As(err, &git) {
			t.Errorf("%s with %v: %v", c.image, c.env, err)
		}
		in.Close()
		if err := errors.Join(h.Remove(t.Context(), spec.Name, ""), h.RemoveMirror(t.Context(), spec.Name)); err != nil {
			t.Fatal(err)
		}
	}
}

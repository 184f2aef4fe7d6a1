package environ

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// make makes the directories and files of an image: a name that ends in "/" is a directory.
func makeImage(t *testing.T, modes map[string]os.FileMode) string {
	t.Helper()
	root := t.TempDir()
	for dir := root; dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o001 == 0 {
			os.Chmod(dir, info.Mode().Perm()|0o011)
		}
	}
	names := make([]string, 0, len(modes))
	for name := range modes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		path := filepath.Join(root, name)
		var err error
		if strings.HasSuffix(name, "/") {
			err = os.Mkdir(path, 0o700)
		} else {
			err = os.WriteFile(path, []byte(name), 0o600)
		}
		if err == nil {
			err = os.Chmod(path, modes[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// value returns the last value of a variable.
func value(env []string, name string) (value string, set bool) {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value, set = v, true
		}
	}
	return value, set
}

const sticky = os.ModeSticky | 0o777

func TestGoImage(t *testing.T) {
	root := makeImage(t, map[string]os.FileMode{
		"go/": sticky, "go/bin/": sticky, "go/pkg/": 0o755, "go/pkg/mod/": 0o755, "go/pkg/mod/cache/": 0o755,
		"go/pkg/mod/cache/download/": 0o755, "go/pkg/mod/cache/download/example.org/": 0o755, "etc/": 0o755,
	})
	path := root + "/go/bin:/usr/local/go/bin:/none"
	im := Read([]string{"PATH=" + path, "GOPROXY=https://proxy.corp", "GOPATH=" + root + "/go", "GOTOOLCHAIN=local"}, root+"/etc")
	h := im.Session("/sessions/s/home")
	for name, want := range map[string]string{
		"GOPATH":      "/sessions/s/home/go",
		"GOTOOLCHAIN": "local",
		"GOPROXY":     "file://" + root + "/go/pkg/mod/cache/download,https://proxy.corp",
		"PATH":        "/sessions/s/home/.local/bin:/sessions/s/home/go/bin:/usr/local/go/bin:/none:" + root + "/go/bin",
	} {
		if got, _ := value(h.Env, name); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	if !slices.Contains(h.Dirs, "go") {
		t.Errorf("it makes %q", h.Dirs)
	}
	if want := []string{root + "/go", root + "/go/bin"}; !slices.Equal(im.Open(), want) {
		t.Errorf("any uid may write in %q; want %q", im.Open(), want)
	}

	// A session could have put modules there for others.
	if err := os.Chmod(root+"/go/pkg/mod/cache/download", sticky); err != nil {
		t.Fatal(err)
	}
	h = Read([]string{"PATH=" + path, "GOPATH=" + root + "/go"}, root+"/etc").Session("/home")
	if got, set := value(h.Env, "GOPROXY"); set {
		t.Errorf("with a directory that is writable for all, GOPROXY is %q", got)
	}
}

func TestRustImage(t *testing.T) {
	root := makeImage(t, map[string]os.FileMode{
		"cargo/": 0o777, "cargo/bin/": 0o777, "cargo/bin/cargo": 0o777, "cargo/config.toml": 0o644, "cargo/config": 0o666,
		"rustup/": 0o777, "rustup/toolchains/": 0o777,
	})
	im := Read([]string{"PATH=" + root + "/cargo/bin:/none", "CARGO_HOME=" + root + "/cargo", "RUSTUP_HOME=" + root + "/rustup"}, root)
	if err := os.WriteFile(root+"/cargo/config.toml", []byte("of a hostile task"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := im.Session("/h")
	for name, want := range map[string]string{
		"CARGO_HOME": "/h/.cargo", "RUSTUP_HOME": root + "/rustup",
		"PATH": "/h/.local/bin:/h/.cargo/bin:/none:" + root + "/cargo/bin",
	} {
		if got, _ := value(h.Env, name); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	// As it was when the container began; and not the file that any task may write.
	if len(h.Files) != 1 || string(h.Files[".cargo/config.toml"]) != "cargo/config.toml" {
		t.Errorf("it begins with %q", h.Files)
	}
}

func TestRubyImage(t *testing.T) {
	root := makeImage(t, map[string]os.FileMode{"bundle/": sticky})
	gems := root + "/bundle"
	h := Read([]string{"GEM_HOME=" + gems, "BUNDLE_APP_CONFIG=" + gems, "BUNDLE_SILENCE_ROOT_WARNING=1", "PATH=" + gems + "/bin:/none"}, root).Session("/h")
	for name, want := range map[string]string{
		"GEM_HOME": "/h/.gem", "GEM_PATH": "/h/.gem:" + gems + ":", "BUNDLE_APP_CONFIG": "/h/.bundle/app",
		"BUNDLE_SILENCE_ROOT_WARNING": "1",
	} {
		if got, _ := value(h.Env, name); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
}

func TestNodeImage(t *testing.T) {
	root := makeImage(t, map[string]os.FileMode{
		"bin/": 0o755, "bin/node": 0o755, "bin/npm": 0o755, "etc/": 0o755, "etc/npmrc": 0o644, "etc/passwd": 0o644,
	})
	env := []string{"NODE_VERSION=22", "PATH=" + root + "/bin"}
	h := Read(env, root+"/etc").Session("/h")
	if got, _ := value(h.Env, "npm_config_prefix"); got != "/h/.local" {
		t.Errorf("npm's prefix is %q", got)
	}
	if string(h.Files[".local/etc/npmrc"]) != "etc/npmrc" {
		t.Errorf("it begins with %q", h.Files)
	}
	// nvm refuses to work where somebody else has set the prefix.
	h = Read(append(env, "NVM_DIR="+root), root+"/etc").Session("/h")
	if got, set := value(h.Env, "npm_config_prefix"); set {
		t.Errorf("with nvm, npm's prefix is %q", got)
	}
	h = Read(append(env, "NPM_CONFIG_PREFIX="+root), root+"/etc").Session("/h")
	if got, _ := value(h.Env, "NPM_CONFIG_PREFIX"); got != "/h/.local" || string(h.Files[".local/etc/npmrc"]) != "etc/npmrc" {
		t.Errorf("npm's prefix is %q, and it begins with %q", got, h.Files)
	}
}

func TestABarrierIsSeenThroughLinks(t *testing.T) {
	root := makeImage(t, map[string]os.FileMode{
		"private/": 0o700, "private/tool/": 0o755, "private/tool/run": 0o755, "group/": 0o750, "all/": 0o755, "all/run": 0o755,
	})
	if err := os.Symlink(root+"/private/tool", root+"/all/link"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"all/run": "", "all/none/below": "", "none": "",
		"private": "private", "private/tool/run": "private", "private/none": "private", "group/none": "group",
		"all/link": "private", "all/link/run": "private", "all/link/none": "private",
	} {
		if want != "" {
			want = root + "/" + want
		}
		if got := Barrier(root + "/" + path); got != want {
			t.Errorf("%s: %q; want %q", path, got, want)
		}
	}
}

func TestWhatAFetchIsTold(t *testing.T) {
	im := Read([]string{
		"HOME=/root", "PATH=/bin", "LANG=C", "http_proxy=http://one", "HTTPS_PROXY=http://two", "no_proxy=local",
		"SSL_CERT_FILE=/root/.ca.pem", "CURL_CA_BUNDLE=/etc/ca.pem", "GIT_SSL_CAINFO=/etc/ca.pem", "GIT_HTTP_PROXY_AUTHMETHOD=basic",
		"GIT_DIR=/x", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=core.sshCommand", "GIT_CONFIG_GLOBAL=/x", "GIT_CONFIG_PARAMETERS='a.b=c'",
		"GIT_EXEC_PATH=/x", "GIT_SSH=/x", "GIT_SSH_COMMAND=x", "GIT_ASKPASS=x", "GIT_PROXY_COMMAND=x", "GIT_TRACE=1", "GIT_TRACE_CURL=1",
		"GIT_CURL_VERBOSE=1", "GIT_TEMPLATE_DIR=/x", "GIT_HTTP_LOW_SPEED_LIMIT=0", "GIT_ALLOW_PROTOCOL=file", "GIT_EDITOR=x",
		"SSH_ASKPASS=x", "SSH_AUTH_SOCK=/x", "XDG_CONFIG_HOME=/etc", "BERTH_ASKPASS=x",
		"LD_LIBRARY_PATH=/usr/lib:/tmp/lib", "LD_PRELOAD=/var/tmp/x.so", "MANPATH=/usr/share/man",
	}, "/nowhere")
	got := im.Fetch([]string{"http_proxy=http://three", "GIT_SSL_NO_VERIFY=1", "GIT_TRACE=1", "HOME=/x", "PATH=/x", "TOKEN=t"})
	want := []string{
		"LANG=C", "http_proxy=http://one", "HTTPS_PROXY=http://two", "no_proxy=local",
		"SSL_CERT_FILE=/root/.ca.pem", "CURL_CA_BUNDLE=/etc/ca.pem", "GIT_SSL_CAINFO=/etc/ca.pem", "GIT_HTTP_PROXY_AUTHMETHOD=basic",
		"MANPATH=/usr/share/man", "http_proxy=http://three", "GIT_SSL_NO_VERIFY=1", "TOKEN=t",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestWhatASessionCanChange(t *testing.T) {
	root := makeImage(t, map[string]os.FileMode{
		"safe/": 0o755, "safe/git": 0o755, "open/": 0o777, "open/bin/": 0o755, "sticky/": sticky, "sticky/bin/": 0o755,
		"group/": 0o775, "safe/file": 0o666, "safe/below/": 0o777, "only/": sticky, "only/git": 0o755,
	})
	if err := os.Symlink(root+"/open/bin", root+"/safe/link"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"safe": false, "safe/git": false, "safe/none": false, "group": false, "sticky/bin": false, "sticky/bin/none": false,
		"open": true, "open/bin": true, "sticky": true, "sticky/none": true, "safe/file": true, "safe/below": true, "safe/link": true,
	} {
		if got := changeable(root + "/" + path); got != want {
			t.Errorf("%s: %t; want %t", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"only:safe:sticky/bin": "safe:sticky/bin",
		"only:group":           "group:only", // there is no other git
		"open/bin:group":       "group",
	} {
		full := func(path string) string {
			return root + "/" + strings.ReplaceAll(path, ":", ":"+root+"/")
		}
		if got := Read([]string{"PATH=" + full(path)}, root).SafePath(); got != full(want) {
			t.Errorf("with the PATH %s git is looked up in %s; want %s", full(path), got, full(want))
		}
	}
}

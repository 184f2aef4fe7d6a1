package environ

import (
	"strings"
	"testing"
)

// lookIn looks at an image that is described in a few words.
func lookIn(path string) state {
	switch {
	case inHome(path, []string{"/root"}):
		return state{barrier: "/root", exists: path == "/root", dir: path == "/root"}
	case path == "/go", path == "/usr/local/rustup", path == "/cache/full":
		return state{exists: true, dir: true, open: true}
	case path == "/models", path == "/cache":
		return state{exists: true, dir: true, open: true, empty: true}
	case strings.HasPrefix(path, "/cache/"), strings.HasPrefix(path, "/tmp/"), strings.HasPrefix(path, "/go/"):
		return state{open: true}
	case path == "/tmp":
		return state{exists: true, dir: true, open: true, empty: true}
	case path == "/usr/share", path == "/etc/image", path == "/opt/tool", path == "/home/node", path == "/home/node/.nvm":
		return state{exists: true, dir: true}
	case path == "/etc/file":
		return state{exists: true}
	case path == "/etc/open":
		return state{exists: true, open: true}
	}
	return state{}
}

func TestWhatBecomesOfAVariable(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        verdict
		kept        string // "" = the value
	}{
		{"LANG", "C.UTF-8", keep, ""},
		{"APP_URL", "http://root:x@host/root", keep, ""},
		{"HOME", "/root", leave, ""},
		{"PATH", "/bin", leave, ""},

		// A tool's own files.
		{"GOPATH", "/go", replace, ""},
		{"GOPATH", "/go:/opt/tool", replace, ""},
		{"GOMODCACHE", "/go/pkg/mod", replace, ""},
		{"GOCACHE", "off", keep, ""},
		{"CARGO_HOME", "/usr/local/cargo", replace, ""},
		{"CARGO_HOME", "/root/.cargo", replace, ""},
		{"npm_config_cache", "/cache/npm", replace, ""},
		{"NPM_CONFIG_CACHE", "/home/node/.npm", replace, ""},
		{"COMPOSER_HOME", "/tmp", replace, ""},
		{"PIP_CACHE_DIR", "/opt/tool", replace, ""},
		{"GRADLE_USER_HOME", "/home/gradle/.gradle", replace, ""},

		// Tools are where they are.
		{"GOROOT", "/usr/local/go", keep, ""},
		{"RUSTUP_HOME", "/usr/local/rustup", keep, ""},
		{"NVM_DIR", "/home/node/.nvm", keep, ""},

		// Any name.
		{"RUSTUP_HOME", "/root/.rustup", leave, ""},
		{"BASH_ENV", "/root/.bashrc", leave, ""},
		{"KUBECONFIG", "/home/node/.kube/config", leave, ""},
		{"HF_HOME", "/models", replace, ""},
		{"ANY_CACHE", "/cache/full", replace, ""},
		{"ANY_CACHE", "/cache/new", replace, ""},
		{"ANY_CACHE", "/opt/tool", keep, ""},
		{"SOME_DIR", "/cache/new", replace, ""},
		{"SOME_DIR", "/go", keep, ""},
		{"SOCKET", "/cache/new", keep, ""},
		{"SOME_FILE", "/etc/open", keep, ""},
		{"SOME_FILE", "/etc/file", keep, ""},
		{"TMP", "/tmp", keep, ""},
		{"WORK_DIR", "/tmp/work", keep, ""},

		// Those of the XDG base directory specification.
		{"XDG_CONFIG_HOME", "/root/.config", replace, ""},
		{"XDG_CONFIG_HOME", "/home/node", replace, ""},
		{"XDG_CONFIG_HOME", "/cache", replace, ""},
		{"XDG_CONFIG_HOME", "/etc/none", replace, ""},
		{"XDG_CONFIG_HOME", "/etc/image", keep, ""},
		{"XDG_CACHE_HOME", "/etc/image", replace, ""},
		{"XDG_DATA_HOME", "/root/.local/share", replace, ""},
		{"XDG_STATE_HOME", "/root/.local/state", replace, ""},
		{"XDG_RUNTIME_DIR", "/run/user/0", leave, ""},
		{"XDG_DATA_DIRS", "/root/.share:/usr/share", keep, "/usr/share"},
		{"PYTHONPATH", "/root/.lib", leave, ""},
		{"PYTHONPATH", "/root/.lib:/root/.more", leave, ""},
		{"LD_LIBRARY_PATH", "/opt/tool:/usr/share", keep, ""},

		// Whom to trust.
		{"SSL_CERT_FILE", "/root/.ca.pem", keep, ""},
		{"GIT_SSL_CAINFO", "/root/.ca.pem", keep, ""},
		{"NPM_CONFIG_CAFILE", "/root/.ca.pem", keep, ""},
		{"GIT_DIR", "/srv/repo.git", leave, ""},
		{"GIT_AUTHOR_NAME", "Image", keep, ""},
	} {
		kept, got := decide(c.name, c.value, []string{"/root", "/home/node"}, lookIn)
		if c.kept == "" {
			c.kept = c.value
		}
		if got != c.want || kept != c.kept {
			t.Errorf("%s=%s: %d, %s; want %d, %s", c.name, c.value, got, kept, c.want, c.kept)
		}
	}
}

package environ

import (
	"path/filepath"
	"slices"
	"strings"
)

// local is where the programs that a user installs are, below the home.
const local = ".local"

// places are the variables that tell a tool where its own files are: caches, state, and a user's installations. In a session
// they always name a place below its home, the one that the tool uses if the variable is not set. In the image they name a
// place that all sessions share, or that no session may write in. A tool makes missing files again.
//
// Variables for the place where a tool is installed are not among them: RUSTUP_HOME, NVM_DIR, JAVA_HOME.
var places = map[string]string{
	"GOPATH": "go", "GOBIN": "go/bin", "GOMODCACHE": "go/pkg/mod", "GOCACHE": ".cache/go-build",

	"CARGO_HOME": ".cargo", "CARGO_INSTALL_ROOT": ".cargo", "CARGO_TARGET_DIR": ".cache/cargo-target",

	"npm_config_cache": ".npm", "npm_config_prefix": local, "npm_config_store_dir": ".local/share/pnpm/store",
	"PNPM_HOME": ".local/share/pnpm", "YARN_CACHE_FOLDER": ".cache/yarn", "YARN_GLOBAL_FOLDER": ".yarn/berry",
	"COREPACK_HOME": ".cache/node/corepack", "BUN_INSTALL_CACHE_DIR": ".bun/install/cache", "DENO_DIR": ".cache/deno",

	"PIP_CACHE_DIR": ".cache/pip", "PYTHONUSERBASE": local, "PIPX_HOME": ".local/share/pipx", "PIPX_BIN_DIR": ".local/bin",
	"UV_CACHE_DIR": ".cache/uv", "POETRY_CACHE_DIR": ".cache/pypoetry", "PIPENV_CACHE_DIR": ".cache/pipenv",
	"PRE_COMMIT_HOME": ".cache/pre-commit",

	"GEM_HOME": ".gem", "BUNDLE_PATH": ".bundle/gems", "BUNDLE_APP_CONFIG": ".bundle/app", "BUNDLE_USER_HOME": ".bundle",

	"GRADLE_USER_HOME": ".gradle", "MAVEN_USER_HOME": ".m2", "ANDROID_USER_HOME": ".android", "COURSIER_CACHE": ".cache/coursier",
	"NUGET_PACKAGES": ".nuget/packages", "DOTNET_CLI_HOME": "",
	"COMPOSER_HOME": ".composer", "COMPOSER_CACHE_DIR": ".cache/composer",
	"STACK_ROOT": ".stack", "CABAL_DIR": ".cabal", "PUB_CACHE": ".pub-cache", "CONAN_USER_HOME": "", "CONAN_HOME": ".conan2",
	"CCACHE_DIR": ".cache/ccache", "SCCACHE_DIR": ".cache/sccache",

	"XDG_CACHE_HOME": ".cache", "XDG_CONFIG_HOME": ".config", "XDG_DATA_HOME": ".local/share", "XDG_STATE_HOME": ".local/state",
}

// seeds are the files of settings that a tool reads in such a place: the session's own begins with the image's.
var seeds = map[string][]string{
	"CARGO_HOME":        {"config.toml", "config"},
	"npm_config_prefix": {"etc/npmrc"},
	"BUNDLE_APP_CONFIG": {"config"},
	"GRADLE_USER_HOME":  {"gradle.properties", "init.gradle", "init.gradle.kts"},
	"MAVEN_USER_HOME":   {"settings.xml"},
	"COMPOSER_HOME":     {"config.json"},
	"STACK_ROOT":        {"config.yaml"},
	"CABAL_DIR":         {"config"},
}

// ours are the variables that each session has a value of its own for.
var ours = []string{"PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "SHELL"}

// repository are git's variables that name a repository. A session's is its checkout.
var repository = []string{
	"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
	"GIT_COMMON_DIR", "GIT_NAMESPACE",
}

// certificates are the variables that say whom to trust. One that leads nowhere is kept: the tool's error then names
// the file, where without the variable it would speak of an unknown certificate.
var certificates = []string{
	"SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS",
	"CARGO_HTTP_CAINFO", "AWS_CA_BUNDLE", "npm_config_cafile",
	"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY",
	"GIT_PROXY_SSL_CAINFO", "GIT_PROXY_SSL_CERT", "GIT_PROXY_SSL_KEY",
}

// canonical returns the spelling of a variable in our tables: npm takes its own in any case.
func canonical(name string) string {
	if lower := strings.ToLower(name); strings.HasPrefix(lower, "npm_config_") {
		return lower
	}
	return name
}

func listed(name string) bool {
	_, ok := places[canonical(name)]
	return ok
}

// ownPlace returns the place below a session's home that a variable names instead of the image's.
func ownPlace(name string) string {
	if place, ok := places[canonical(name)]; ok {
		return place
	}
	return filepath.Join(".berth", strings.ReplaceAll(name, "/", "_"))
}

// readSeeds reads the image's settings in dir, as far as any session may read them and none may have written them.
func readSeeds(name, dir string) map[string][]byte {
	files := make(map[string][]byte)
	for _, file := range seeds[canonical(name)] {
		if content, ok := readSmall(filepath.Join(dir, file)); ok {
			files[file] = content
		}
	}
	return files
}

// fetching are the variables of git that hold for the fetch as well: whom to trust, and how to pass a proxy. All others
// stay out, for they name another repository, run programs, print credentials, or change settings that the mirror
// relies on.
var fetching = []string{
	"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_VERSION", "GIT_SSL_CIPHER_LIST", "GIT_SSL_NO_VERIFY",
	"GIT_SSL_CERT", "GIT_SSL_CERT_TYPE", "GIT_SSL_KEY", "GIT_SSL_KEY_TYPE",
	"GIT_PROXY_SSL_CAINFO", "GIT_PROXY_SSL_CERT", "GIT_PROXY_SSL_KEY",
	"GIT_HTTP_PROXY_AUTHMETHOD", "GIT_HTTP_USER_AGENT",
}

// Fetch returns the environment of a fetch: some of the image's variables, and some of the added ones, which win. A fetch has the
// mirror's rights and a credential, so no variable may lead it to a file that a session can change.
func (im *Image) Fetch(added []string) (env []string) {
	for _, v := range im.vars {
		hidden := filepath.IsAbs(v.value) && v.verdict == leave
		misleads := v.misleads && !slices.Contains(certificates, canonical(v.name))
		if fetches(v.name) && !hidden && !misleads {
			env = append(env, v.name+"="+v.value)
		}
	}
	for _, kv := range added {
		if name, _, ok := strings.Cut(kv, "="); ok && fetches(name) {
			env = append(env, kv)
		}
	}
	return env
}

func fetches(name string) bool {
	switch {
	case strings.HasPrefix(name, "GIT_"):
		return slices.Contains(fetching, name)
	case strings.HasPrefix(name, "SSH_"), strings.HasPrefix(name, "XDG_"), strings.HasPrefix(name, "BERTH_"), slices.Contains(ours, name):
		return false
	}
	return true
}

package fake

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-go/berth/agent"
)

// Repo describes a remote repository.
type Repo struct {
	DefaultBranch string   // default "main"
	Branches      []string // besides the default one
	Tags          []string // each at a commit of its own
	// Commits are the IDs, of 40 hexadecimal digits, of commits that the server sends although no branch and no tag
	// reaches them.
	Commits []string
	// Detached means that HEAD is at a commit of its own. Dangling means that DefaultBranch does not exist.
	Detached, Dangling bool
	Size               int64 // bytes of its mirror. Default 1 MiB
	Missing            bool  // the server answers that there is no such repository
	// Password makes the repository private: a fetch needs this password, with any user name.
	Password string
	// Proxy is the URL of the only proxy that reaches the server. A fetch needs it in the environment, as the proxy for
	// the scheme of the repository's URL.
	Proxy string
	// Address is what the host of the repository's URL resolves to. A container whose Egress refuses the address does not
	// fetch. "" = the URL's own host, or a public address if that is a name.
	Address string
	// Devcontainer is its .devcontainer/devcontainer.json, on all branches. "" = there is none.
	Devcontainer string
	// HostKey is the key of its server of ssh, as known_hosts has it: "ssh-ed25519 AAAA...". A fetch or push over ssh needs it in
	// Config.KnownHosts, unless that is empty and the server none that is known in any case. "" = no key is checked.
	HostKey string
	Err     error // the error of every fetch; a *agent.GitError stands for git's own error
	PushErr error // why every push is refused; nil = pushes are taken unless Err says otherwise
}

// remote is a repository on its server. The mu of its remotes protects it. refs is replaced and never changed, so that
// mirrors may hold it.
type remote struct {
	repo   Repo
	name   string
	pushes int
	refs   *refs
	serves chan struct{} // closed when the server answers again; nil while it does
	fails  []error       // the errors of the next requests

	requests int

	parents map[string]string // of the commits that were pushed
	locks   map[string]string // the state of the files that decide whether a workspace is prepared again, by commit; "" = the first
}

func newRemote(name string, r Repo) *remote {
	if r.DefaultBranch == "" {
		r.DefaultBranch = "main"
	}
	if r.Size == 0 {
		r.Size = 1 << 20
	}
	m := &remote{repo: r, name: name, refs: &refs{standard: r.DefaultBranch, branches: map[string]string{}, tags: map[string]string{}}}
	for _, b := range append(slices.Clone(r.Branches), r.DefaultBranch) {
		m.refs.branches[b] = m.commit(b)
	}
	for _, t := range r.Tags {
		m.refs.tags[t] = m.commit("tag " + t)
	}
	if r.Detached {
		m.refs.detached = m.commit("HEAD")
	}
	if r.Dangling {
		delete(m.refs.branches, r.DefaultBranch)
	}
	return m
}

// commit makes up the ID of a branch's commit after a number of pushes.
func (m *remote) commit(branch string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "%s %s %d", m.name, branch, m.pushes))
	return hex.EncodeToString(sum[:])
}

// refusal returns why a fetch fails, in git's words.
func (m *remote) refusal(op string, f agent.Fetch) error {
	message := ""
	if len(m.fails) > 0 {
		err := m.fails[0]
		m.fails = m.fails[1:]
		return err
	}
	untrusted := m.untrusted(f.URL, f.KnownHosts)
	switch {
	case m.repo.Err != nil:
		return m.repo.Err
	case untrusted != "":
		message = untrusted
	case m.repo.Proxy != "" && proxyFor(f) != m.repo.Proxy:
		message = fmt.Sprintf("fatal: unable to access '%s/': Could not resolve host", f.URL)
	case m.repo.Missing:
		message = fmt.Sprintf("remote: Repository not found.\nfatal: repository '%s/' not found", f.URL)
	case m.repo.Password == "" || f.Password == m.repo.Password:
		return nil
	case f.Password == "":
		message = fmt.Sprintf("fatal: could not read Username for '%s': terminal prompts disabled", f.URL)
	default:
		message = fmt.Sprintf("remote: Invalid username or password.\nfatal: Authentication failed for '%s/'", f.URL)
	}
	return &agent.GitError{Op: op, Message: message}
}

// proxyFor returns the proxy that the environment of a fetch names, in the variables that git reads.
func proxyFor(f agent.Fetch) string {
	scheme, _, _ := strings.Cut(f.URL, "://")
	names := []string{scheme + "_proxy"}
	if scheme != "http" {
		names = append(names, strings.ToUpper(scheme)+"_PROXY") // not HTTP_PROXY: a client could set it for a CGI program
	}
	for _, name := range append(names, "all_proxy", "ALL_PROXY") {
		if proxy := f.Env[name]; proxy != "" {
			return proxy
		}
	}
	return ""
}

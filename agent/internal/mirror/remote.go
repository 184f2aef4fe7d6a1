package mirror

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/reach"
	"github.com/berth-go/berth/agent/internal/wire"
)

// remote runs a git command of job that talks to the remote. Git connects over a route of its own, or over the proxy that the host's
// configuration names. The error is an *egress.Refused if the remote, or a redirect of it, is at an address that the policy
// refuses.
func (m *Mirror) remote(ctx context.Context, r wire.Fetch, job git.Job) ([]byte, error) {
	route := m.reach.Open()
	defer route.Close()
	if err := m.lead(ctx, &job, r, route); err != nil {
		return nil, err
	}
	m.FreePorts(ctx)
	out, err := git.Run(ctx, m.Table, job)
	why := route.Err()
	if err == nil || ctx.Err() != nil || why == nil {
		return out, err
	}
	if _, refused := errors.AsType[*egress.Refused](why); refused {
		return nil, why
	}
	return nil, &git.Error{Op: job.Op, Message: why.Error()} // git knows only that its proxy has failed
}

// lead makes git connect over a route.
func (m *Mirror) lead(ctx context.Context, job *git.Job, r wire.Fetch, route *reach.Route) error {
	job.Env = append(job.Env, route.Environ()...)
	scheme, host := target(r.URL)
	switch scheme {
	case "http", "https":
	default: // ssh has its proxy command in environ
		job.Env = append(job.Env, "GIT_PROXY_COMMAND="+m.Askpass)
		return writeKnownHosts(m.home(), r)
	}
	configured, err := m.proxyOfImage(ctx, job, r.URL)
	if err != nil {
		return err
	}
	proxied := configured || proxyFor(scheme, host, job.Env) != ""
	job.Env = slices.DeleteFunc(job.Env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		name = strings.ToLower(name)
		return strings.HasSuffix(name, "_proxy") && (!proxied || name == "no_proxy")
	})
	if !proxied {
		proxy := route.Proxy()
		job.Secrets = append(job.Secrets, proxy)
		// Without the second, an image's http.proxy that is empty would make git connect by itself.
		job.Env = append(job.Env, "http_proxy="+proxy, "https_proxy="+proxy, "GIT_CONFIG_PARAMETERS='http.proxy="+proxy+"'")
		return nil
	}
	// The proxy resolves the name again, and would follow a redirect to anywhere.
	if i := slices.Index(job.Args, "http.followRedirects=initial"); i >= 0 {
		job.Args[i] = "http.followRedirects=false"
	}
	return route.Check(ctx, host)
}

// target returns the scheme and the host of a remote's URL. The scp form is ssh.
func target(remote string) (scheme, host string) {
	u, err := url.Parse(remote)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return "ssh", ""
	}
	return strings.ToLower(u.Scheme), u.Hostname()
}

// proxyOfImage reports whether git's configuration in the image says something about a proxy for a URL. It wins over the
// environment. The image does not change, so git is asked once.
func (m *Mirror) proxyOfImage(ctx context.Context, job *git.Job, remote string) (bool, error) {
	if known, ok := m.proxied.Load(remote); ok {
		return known.(bool), nil
	}
	look := *job
	look.Op, look.URL, look.Progress, look.Watch, look.Output = "config", "", nil, nil, nil
	look.Args = []string{"config", "--get-urlmatch", "http.proxy", remote}
	_, err := git.Run(ctx, m.Table, look)
	if _, none := errors.AsType[*git.Error](err); err != nil && !none {
		return false, err
	}
	m.proxied.Store(remote, err == nil)
	return err == nil, nil
}

// proxyFor returns the proxy for a host that the environment names, as git and curl read it; "" = none.
func proxyFor(scheme, host string, env []string) string {
	get := func(name string) (value string) {
		for _, kv := range env {
			if n, v, _ := strings.Cut(kv, "="); n == name {
				value = v // the last wins
			}
		}
		return value
	}
	if exempt(host, get("no_proxy")) || exempt(host, get("NO_PROXY")) {
		return ""
	}
	names := []string{scheme + "_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}
	if scheme == "http" {
		names = slices.Delete(names, 1, 2) // a client could set HTTP_PROXY for a CGI program
	}
	for _, name := range names {
		if proxy := get(name); proxy != "" {
			return proxy
		}
	}
	return ""
}

// exempt reports whether a host is in the list of a no_proxy.
func exempt(host, list string) bool {
	addr, _ := netip.ParseAddr(host)
	for _, item := range strings.FieldsFunc(strings.ToLower(list), func(r rune) bool { return r == ',' || r == ' ' }) {
		name := strings.Trim(item, ".")
		if net, err := netip.ParsePrefix(item); err == nil && net.Contains(addr) {
			return true
		}
		if item == "*" || host == name || strings.HasSuffix(strings.ToLower(host), "."+name) && name != "" {
			return true
		}
	}
	return false
}

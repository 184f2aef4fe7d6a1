package fake

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/orchestrator"
)

// check returns an agent.ErrAddressRefused if a container's egress refuses the address of a remote.
func (r *remotes) check(e orchestrator.Egress, f agent.Fetch) error {
	r.mu.Lock()
	address := r.of(f.URL).repo.Address
	r.mu.Unlock()
	host := hostOf(f.URL)
	if address == "" {
		address = host
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return nil // a name
	}
	policy, err := egress.Parse(e.Mode, e.Allow, e.Remotes...)
	if err == nil {
		err = policy.CheckRemote(host, addr)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", agent.ErrAddressRefused, err)
	}
	return nil
}

// hostOf returns the host of a remote, also in the scp form.
func hostOf(remote string) string {
	if u, err := url.Parse(remote); err == nil && u.Host != "" {
		return u.Hostname()
	}
	host, _, _ := strings.Cut(remote, ":")
	return host[strings.LastIndexByte(host, '@')+1:]
}

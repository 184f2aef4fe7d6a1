package fake

import (
	"slices"
	"strings"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/naming"
)

// untrusted returns ssh's words if a client that knows some hosts does not trust the server of a remote; "" = it does, or no ssh is used.
func (m *remote) untrusted(url, hosts string) string {
	at, ssh := sshHost(url)
	if m.repo.HostKey == "" || !ssh {
		return ""
	}
	known := false
	for line := range strings.Lines(gitremote.KnownHosts + hosts) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !slices.Contains(strings.Split(fields[0], ","), at) {
			continue
		}
		if known = true; strings.HasPrefix(m.repo.HostKey+" ", fields[1]+" "+fields[2]+" ") {
			return ""
		}
	}
	if !known && hosts == "" {
		return "" // at first sight
	}
	return "Host key verification failed.\nfatal: Could not read from remote repository."
}

// sshHost returns the host of a remote, as known_hosts has it, and whether ssh is its transport.
func sshHost(url string) (host string, ssh bool) {
	rest, ssh := strings.CutPrefix(url, "ssh://")
	if !ssh {
		if _, err := naming.ParseRemote(url); err != nil || strings.Contains(url, "://") {
			return "", false
		}
		rest = strings.Replace(url, ":", "/", 1) // user@host:path
	}
	host, _, _ = strings.Cut(rest, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	if name, port, ok := strings.Cut(host, ":"); ok && port != "22" {
		return "[" + name + "]:" + port, true
	}
	return strings.TrimSuffix(host, ":22"), true
}

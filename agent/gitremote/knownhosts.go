package gitremote

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// KnownHosts are the host keys of some forges, in the form of OpenSSH's known_hosts. Each forge publishes the fingerprints of its own.
const KnownHosts = `github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl
github.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=
gitlab.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf
gitlab.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFSMqzJeV9rUzU4kWitGjeR4PWSa29SPqJ1fVkhtj3Hw9xjLVXVYrU9QlYWrOLXBpQ6KWjbjTDTdDkoohFzgbEY=
bitbucket.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIazEu89wgQZ4bqs3d63QSMzYVa0MuJ2e2gKTKqu+UUO
`

// HostKeyOptions returns the options of ssh, for a shell, that make it take host keys from a file. more are those in it beside KnownHosts: if
// there are none, a host that is not known is trusted at first sight, and else it is refused. A known host with another key is refused in
// any case.
func HostKeyOptions(file, more string) string {
	strict := "accept-new"
	if more != "" {
		strict = "yes"
	}
	return "-oStrictHostKeyChecking=" + strict + " '-oGlobalKnownHostsFile=" + file + " /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2'"
}

// maxKnownHosts bounds what CheckKnownHosts accepts.
const maxKnownHosts = 256 << 10

// CheckKnownHosts returns an error unless a text has lines of OpenSSH's known_hosts: hosts, the type of a key and the key, with a marker
// before them or a comment behind.
func CheckKnownHosts(text string) error {
	if len(text) > maxKnownHosts {
		return fmt.Errorf("must be at most %d bytes", maxKnownHosts)
	}
	at := 0
	for line := range strings.Lines(text) {
		at++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if fields[0] == "@cert-authority" || fields[0] == "@revoked" {
			fields = fields[1:]
		}
		if len(fields) < 3 || strings.HasPrefix(fields[0], "@") || strings.IndexFunc(line[:len(strings.TrimRight(line, "\r\n"))], func(r rune) bool { return r < ' ' && r != '\t' }) >= 0 {
			return fmt.Errorf("line %d has no hosts, type and key", at)
		}
		if _, err := base64.StdEncoding.DecodeString(fields[2]); err != nil {
			return fmt.Errorf("line %d has no key in base64", at)
		}
	}
	return nil
}

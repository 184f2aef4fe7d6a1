package naming_test

import "testing"

// TestDecoys holds that what a reader may take for the host is refused in front
// of the '@', in a URL and in the scp-like form.
func TestDecoys(t *testing.T) {
	for _, userinfo := range []string{
		// A forge that is known, whatever follows it or stands before it.
		"github.com.", "github.com..", "github.com:", "github.com%", "GITHUB.com", "github%2ecom", "github.com%3A443", "github.com%253A443",
		"github.com%2Fo%2Fr", "github.com%3Fq", "github.com%23f", "github.com%20", "%20github.com", "github.com%C2%A0", "github.com%5C", "github.com%5Co%5Cr",
		"github.com;x", "github.com&x", "github.com-login", "github.com_", "github.com.evil", "github.com%E2%88%95o", // DIVISION SLASH
		"github.com%40x", "x@github.com", "x:y@github.com", "user:token%40github.com", ":github.com", "https%3A%2F%2Fgithub.com", "https:%2F%2Fgithub.com%2Fo",
		"api.github.com", "www.gitlab.com:x", "ssh.github.com:443", "altssh.bitbucket.org", "gist.github.com", "git.sr.ht", "codeberg.org:8443",
		"org.visualstudio.com", "visualstudio.com", "vs-ssh.visualstudio.com:x", "ssh.dev.azure.com", "dev.azure.com:pat",
		"github%EF%BC%8Ecom", "github%E3%80%82com", "github%E2%80%A4com", "git%E2%80%8Bhub.com", "bitbuc%E2%84%AAet.org:x", // dots, a blank of no width, KELVIN SIGN

		// Any other host.
		"git.host.example", "git.host.example.", "git.host.example:7999", "git.host.example%3A7999", "git.host.example%2Fo%2Fr", "git.host.example%40x",
		"git.host.example%5C", "https%3A%2F%2Fgit.host.example%2Fo", "git.host.example:443%2Fo%2Fr", "g%D1%96thub.com", // Cyrillic
		"git.uni.de", "git.uni.de:3000", "git.corp.internal", "gitea.lan:3000", "git.corp:443", "gitlab:443", "code.acme:8443",
		"localhost", "localhost:3000", "10.0.0.1", "127.0.0.1:3000", "[::1]", "[::1]:443", "%5B::1%5D", "2001:db8::1", "::1",
		"git@git.host.example:443", "git%40git.host.example%3A443", "gitea:3000", "git.host.example:0443", "git.uni.ac.uk",
	} {
		wantRefused(t, "https://"+userinfo+"@host.xz/o/r")
	}
	for _, remote := range []string{
		"ssh://github.com.@host.xz/o/r", "ssh://git@github.com@host.xz/o/r", "ssh://[gitlab.com.@host.xz]/o/r", "git://gitlab.com.@host.xz/o/r", "ssh://git.host.example:22@host.xz/o/r",
		"github.com.@host.xz:o/r", "git@github.com.@host.xz:o/r", "git.host.example@host.xz:o/r", "org.visualstudio.com@host.xz:o/r", "[github.com.@host.xz]:o/r",
	} {
		wantRefused(t, remote)
	}
}

// TestUsersAreNoDecoys holds that users and passwords as people and forges have
// them are accepted.
func TestUsersAreNoDecoys(t *testing.T) {
	for _, userinfo := range []string{
		"john.doe", "john.doe:1234", "john.doe:00000", "john.doe:123456", "jane.m.smith:4321", "svc.ci-bot:2024", "a.b:12", "admin:1234", "user.name+tag:1234",
		"wei.li.xu", "wei.li.xu:s3cret", "ho.chi.le%40corp.example:TOKEN",
		"jane.dev", "jane.dev:s3cret", "jane.li", "jane.li:s3cret", "john.doe%40host.example", "john.doe%40host.example:1234", "john.doe@host.example:pw", "jane.dev%40host.example:1234",
		"jane%2Bgithub.com%40host.example:pw", "github:x", "github.company:x", "notgithub.com.au:x", "owner.name:a.b.c%2Fd%3D",
		"CORP%5Cjane.doe:pw", "corp.host.example%5Cjane:pw", "git-jane.gmail.com:1%2F%2F0abcdef",
		"x-access-token:ghs_abc", "oauth2:glpat-abc", "gitlab+deploy-token-1:abc", "x-token-auth:a.b=XY", "eyJhbGciOi.eyJzdWIi.c2ln", "jane-at-123456789012:ab%2Fcd%3D",
		"j%C3%BCrgen:geheim", "%E5%B1%B1%E7%94%B0:x", "Jane%20Doe:x", "jane:p%40ss%2Fword",
		"", ":", ":x", ":1234", "%20", "%20:x", "%3A", "%2F", "%2F%2F:x", ".", "a:b:443", "x::y", // odd ones, which git takes
	} {
		wantIdentity(t, "https://"+userinfo+"@host.xz/o/r", "host.xz/o/r")
	}
	for _, user := range []string{
		"john.doe", "jane@doe.example", "vault@jane@git.host.example", "APKAEIBAERJR2EXAMPLE",
	} {
		wantIdentity(t, "ssh://"+user+"@host.xz/o/r", "host.xz/o/r")
		wantIdentity(t, user+"@host.xz:/o/r", "host.xz/o/r")
	}
}

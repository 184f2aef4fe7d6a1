package gitremote

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

// TestKnownHosts compares the keys with the fingerprints that the forges publish.
func TestKnownHosts(t *testing.T) {
	want := map[string]string{
		"github.com ssh-ed25519":         "+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
		"github.com ecdsa-sha2-nistp256": "p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
		"gitlab.com ssh-ed25519":         "eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8",
		"gitlab.com ecdsa-sha2-nistp256": "HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw",
		"bitbucket.org ssh-ed25519":      "ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM",
	}
	if err := CheckKnownHosts(KnownHosts); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(KnownHosts) {
		fields := strings.Fields(line)
		key, err := base64.StdEncoding.DecodeString(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		sum, name := sha256.Sum256(key), fields[0]+" "+fields[1]
		if got := base64.RawStdEncoding.EncodeToString(sum[:]); got != want[name] {
			t.Errorf("%s: %s, want %s", name, got, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestCheckKnownHosts(t *testing.T) {
	for text, fit := range map[string]bool{
		"":         true,
		"# none\n": true,
		"git.example,10.0.0.1 ssh-ed25519 AAAA a comment\r\n\n[git.example]:2222 ssh-rsa AAAA\n": true,
		"@cert-authority *.example ssh-ed25519 AAAA":                                             true,
		"@other git.example ssh-ed25519 AAAA":                                                    false,
		"git.example ssh-ed25519":                                                                false,
		"git.example ssh-ed25519 no base64":                                                      false,
		"git.example ssh-ed25519 AAAA\x00":                                                       false,
		strings.Repeat("# too long\n", maxKnownHosts):                                            false,
	} {
		if err := CheckKnownHosts(text); (err == nil) != fit {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

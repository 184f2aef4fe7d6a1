package mirror

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

func TestSecretsOfTheEnvironment(t *testing.T) {
	for kv, want := range map[string][]string{
		"https_proxy=http://ann:s3cret@proxy:3128":      {"s3cret", "ann:s3cret"},
		"https_proxy=http://ann:s3%40cret@proxy:3128":   {"s3@cret", "ann:s3@cret"}, // Scrub knows how a URL spells it
		"https_proxy=ann:s3cret@proxy:3128":             {"s3cret", "ann:s3cret"},
		"HTTPS_PROXY=ann:s3@cr:et@proxy:3128":           {"s3@cr:et", "ann:s3@cr:et"},
		"ALL_PROXY=ann:s3%40cret@proxy:3128":            {"s3%40cret", "ann:s3%40cret", "s3@cret", "ann:s3@cret"},
		"http_proxy=http://ann:s3#cret@proxy:3128":      {"s3#cret", "ann:s3#cret"},
		"http_proxy=:s3cret@proxy:3128":                 {"s3cret", ":s3cret"},
		"http_proxy=ann:@proxy:3128":                    nil,
		"http_proxy=ann@proxy:3128":                     nil,
		"http_proxy=proxy:3128":                         nil,
		"http_proxy=":                                   nil,
		"no_proxy=a.corp,b.corp:80":                     nil,
		"MAIL=ann:1@corp":                               nil, // it would remove every 1
		"PIP_INDEX_URL=https://ann:s3cret@pypi.corp/x/": {"s3cret", "ann:s3cret"},
	} {
		got := secrets(wire.Fetch{}, []string{kv})
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", kv, got, want)
		}
	}
}

func TestAProxysPasswordIsRemoved(t *testing.T) {
	secrets := secrets(wire.Fetch{}, []string{"https_proxy=ann:s3%40cret@proxy:3128"})
	for _, said := range []string{"ann:s3%40cret@proxy:3128", "s3@cret", "s3%40cret"} {
		if got := git.Scrub("fatal: "+said, secrets...); got == "fatal: "+said || got != "fatal: [removed]" && got != "fatal: ann:[removed]@proxy:3128" {
			t.Errorf("%q became %q", said, got)
		}
	}
}

// TestACredentialInAHeaderIsRemoved: a server repeats the header that it got.
func TestACredentialInAHeaderIsRemoved(t *testing.T) {
	for _, c := range []struct{ user, password string }{
		{"ann", "s3cret"}, {"anna", "s3cret"}, {"annab", "s3cret"}, {"ghp_0123456789", ""}, {"ghp_01234567890", ""}, {"ghp_012345678901", ""},
		{"t", ""}, {"git", ""}, {"token", ""}, {"tokens", ""}, {"git", "x-oauth-basic"}, {"ghp_0123456789", "x-oauth-basic"},
	} {
		header := base64.StdEncoding.EncodeToString([]byte(c.user + ":" + c.password))
		if got := git.Scrub("refused: Basic "+header, secrets(wire.Fetch{Username: c.user, Password: c.password}, nil)...); strings.Contains(got, header[:max(4, min(12, len(header)-4))]) {
			t.Errorf("%v: %q", c, got)
		}
	}
	for _, proxy := range []string{"http://ann:s3cret@proxy", "ann:s3cret@proxy"} {
		if got := git.Scrub("Basic YW5uOnMzY3JldA==", secrets(wire.Fetch{}, []string{"http_proxy=" + proxy})...); got != "Basic [removed]" {
			t.Errorf("%s: %q", proxy, got)
		}
	}
}

package fake_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	of "github.com/berth-go/berth/work"
)

// TestKnownHosts: a server of ssh whose key is not the known one gets neither a fetch nor a push.
func TestKnownHosts(t *testing.T) {
	const remote, key = "git@git.example:acme/app.git", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB1pZ2h0IGJlIGEga2V5IG9mIGFueSBzb3J0"
	const otherKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHNvbWV0aGluZyBlbHNlIGFzIGEga2V5IGhlcmU="
	for hosts, trusted := range map[string]bool{
		"": true, "git.example " + key + "\n": true, "other.example,git.example " + key + " me\n": true,
		"git.example " + otherKey + "\n": false, "other.example " + key + "\n": false, "[git.example]:2222 " + key + "\n": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			engine := fake.NewEngine(fake.EngineOptions{Repositories: map[string]fake.Repo{remote: {HostKey: key}}})
			p, err := fake.NewProvider(fake.Options{Engine: engine, Config: berth.Config{KnownHosts: hosts}})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			s, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "u", Repository: remote})
			if failed, ok := errors.AsType[*agent.GitError](err); (err == nil) != trusted || err != nil && (!ok || !strings.Contains(failed.Message, "Host key verification failed")) {
				t.Fatalf("%q: %v", hosts, err)
			}
			if err != nil {
				return
			}
			if _, err := s.Push(t.Context(), of.PushOptions{Branch: "new"}); err != nil {
				t.Errorf("%q: %v", hosts, err)
			}
		})
	}
}

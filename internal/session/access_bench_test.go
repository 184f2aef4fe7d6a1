package session_test

import (
	"context"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// BenchmarkAttach measures a session that joins a running container and ends, over fakes that take no time, and how many
// requests the remote gets for it: none for a public repository, whatever credential the request has, and none with a proof
// that is kept.
func BenchmarkAttach(b *testing.B) {
	const url = "git.example/org/repo"
	for _, c := range []struct {
		name, password, remote string
		access                 berth.Access
		asked                  float64 // for each session
	}{
		{"public", "", "https://" + url, berth.AccessProve, 0},
		{"public, with a credential", "", "https://x:token@" + url, berth.AccessProve, 0},
		{"private, with a proof", "token", "https://x:token@" + url, berth.AccessProve, 0},
		{"private, proven always", "token", "https://x:token@" + url, berth.AccessProveAlways, 1},
		{"private, everybody", "token", "https://x:token@" + url, berth.AccessAllowAll, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			cloud := fake.NewCloud(fake.CloudOptions{Instant: true})
			engine := fake.NewEngine(fake.EngineOptions{
				Cloud: cloud, Instant: true, Repositories: map[string]fake.Repo{"https://" + url: {Password: c.password}},
			})
			p, err := fake.NewProvider(fake.Options{
				Config: berth.Config{LaunchRate: -1, MirrorMaxAge: -1, Access: c.access}, Cloud: cloud, Engine: engine,
			})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { p.Close() })
			ctx := context.Background()
			request := berth.SessionRequest{TaskID: "holder", UserID: "ann", Repository: c.remote}
			if _, err := p.CreateSession(ctx, request); err != nil {
				b.Fatal(err)
			}
			before := engine.Requests("https://" + url)
			request.TaskID = "task"
			for b.Loop() {
				s, err := p.CreateSession(ctx, request)
				if err != nil {
					b.Fatal(err)
				}
				if err := p.TerminateSession(ctx, s.ID()); err != nil {
					b.Fatal(err)
				}
			}
			asked := float64(engine.Requests("https://"+url)-before) / float64(b.N)
			b.ReportMetric(asked, "requests/op")
			if asked != c.asked {
				b.Errorf("the remote had %v requests for each session, want %v", asked, c.asked)
			}
		})
	}
}

package fake_test

import (
	"context"
	"fmt"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
)

// The git of a session asks Config.Credentials, each time.
func ExampleCommand_credential() {
	p, err := fake.NewProvider(fake.Options{
		Instant: true,
		Config: berth.Config{Credentials: func(_ context.Context, r berth.CredentialRequest) (berth.Credential, error) {
			if r.Purpose == berth.PurposePush && r.UserID != "alice" {
				return berth.Credential{}, fmt.Errorf("%s may not push", r.UserID)
			}
			return berth.Credential{Username: "x-access-token", Password: "token of " + r.UserID}, nil
		}},
		Run: func(ctx context.Context, c fake.Command) int { // what "git push" does
			answer, err := c.Credential(ctx, agent.Question{URL: "https://github.com/acme/shop.git", Push: true})
			switch {
			case err != nil:
				fmt.Fprintln(c.Stdout, err)
			case answer.Refusal != "":
				fmt.Fprintln(c.Stdout, answer.Refusal)
			default:
				fmt.Fprintln(c.Stdout, "pushed with the", answer.Password)
			}
			return 0
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	for _, user := range []string{"alice", "bob"} {
		s, err := p.CreateSession(context.Background(), berth.SessionRequest{
			TaskID: user, UserID: user, Repository: "https://github.com/acme/shop",
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		out, err := s.Command(context.Background(), "git", "push").Output()
		fmt.Printf("%s%v\n", out, err)
	}
	// Output:
	// pushed with the token of alice
	// <nil>
	// Config.Credentials for github.com/acme/shop: bob may not push
	// <nil>
}

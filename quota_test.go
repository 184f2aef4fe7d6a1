package berth_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
)

func TestQuotaErrorSaysWhatToDo(t *testing.T) {
	for want, e := range map[string]berth.QuotaError{
		`berth: over the user's quota: user "a" has 5 sessions at once, of at most 5 (UserLimits.Sessions): try again when one of them has ended`:               {Limit: "Sessions", Max: 5, Now: 5},
		`berth: over the user's quota: user "a" has 7 sessions that wait for a slot, of at most 5 (UserLimits.Queued): try again when one of them has its slot`: {Limit: "Queued", Max: 5, Now: 7},
		`berth: over the user's quota: user "a" has 5 starts within a minute, of at most 5 (UserLimits.StartsPerMinute): try again in 37s`:                      {Limit: "StartsPerMinute", Max: 5, Now: 5, RetryAfter: 36*time.Second + 1},
		`berth: over the user's quota: user "a" has 5 starts within a minute, of at most 5 (UserLimits.StartsPerMinute): try again in 1m0s`:                     {Limit: "StartsPerMinute", Max: 5, Now: 5, RetryAfter: time.Minute},
	} {
		e.UserID = "a"
		if got := e.Error(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if err := fmt.Errorf("task: %w", &e); !errors.Is(err, berth.ErrQuota) || !berth.Retryable(err) {
			t.Errorf("%v is not retryable, or no ErrQuota", err)
		}
	}
}

// TestQuotaAndRevokeWithTheFakes is what a host's own test may look like.
func TestQuotaAndRevokeWithTheFakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := fake.NewProvider(fake.Options{Config: berth.Config{UserLimits: berth.UserLimits{Sessions: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		s, err := p.CreateSession(t.Context(), world.Request("one", world.RepoA))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.CreateSession(t.Context(), world.Request("two", world.RepoA)); !errors.Is(err, berth.ErrQuota) {
			t.Errorf("the second session: %v", err)
		}
		if err := p.Revoke(t.Context(), world.User, world.RepoA); err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		if !errors.Is(s.Err(), berth.ErrRevoked) {
			t.Error(s.Err())
		}
		if _, err := p.CreateSession(t.Context(), world.Request("two", world.RepoA)); err != nil {
			t.Errorf("when the first session has ended: %v", err)
		}
	})
}

// A user who is at a limit is refused at once, with the number.
func ExampleQuotaError() {
	ctx := context.Background()
	p := newProvider(berth.Config{UserLimits: berth.UserLimits{Sessions: 1}}, nil)
	defer p.Close()

	for _, task := range []string{"fix-login", "add-tests"} {
		_, err := p.CreateSession(ctx, berth.SessionRequest{
			TaskID: task, UserID: "alice", Repository: "https://github.com/acme/shop",
		})
		if over, ok := errors.AsType[*berth.QuotaError](err); ok {
			fmt.Printf("%s: %s has %d of at most %d %s\n", task, over.UserID, over.Now, over.Max, over.Limit)
		} else if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// add-tests: alice has 1 of at most 1 Sessions
}

// Revoke ends what a user has on a repository, by any spelling of its remote.
func ExampleProvider_Revoke() {
	ctx := context.Background()
	p := newProvider(berth.Config{}, nil)
	defer p.Close()

	s, err := p.CreateSession(ctx, berth.SessionRequest{
		TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop",
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Revoke(ctx, "alice", "git@github.com:acme/shop.git"); err != nil {
		log.Fatal(err)
	}
	<-s.Done()
	fmt.Println(s.Err())
	// Output:
	// berth: the user's access was revoked
}

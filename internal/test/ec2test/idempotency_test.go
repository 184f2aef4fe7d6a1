package ec2test_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/internal/test/ec2test"
)

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }

func TestATokenLaunchesOnce(t *testing.T) {
	onBench(t, plain, func(b *bench) {
		id := b.launch(token("t-1"))
		time.Sleep(5 * time.Second)
		if again := b.launch(token("t-1")); again != id {
			t.Errorf("the same request launched %s and %s", id, again)
		}
		if other := b.launch(token("t-2")); other == id {
			t.Error("another token returned the same instance")
		}
		_, err := b.try(token("t-1"), func(in *ec2.RunInstancesInput) { in.InstanceType = types.InstanceTypeM5Large })
		b.want(err, "IdempotentParameterMismatch")
		b.want(b.terminate(id), "")
		if again := b.launch(token("t-1")); again != id {
			t.Errorf("while it shuts down, the request returned %s", again)
		}
		time.Sleep(10 * time.Second)
		_, err = b.try(token("t-1"))
		b.want(err, "IdempotentInstanceTerminated")
		time.Sleep(2 * time.Hour) // not even when nothing shows the instance any more
		_, err = b.try(token("t-1"))
		b.want(err, "IdempotentInstanceTerminated")
		if n := len(b.server.Instances()); n != 2 {
			t.Errorf("%d instances", n)
		}
	})
}

func TestATokenIsFreeAfterARefusal(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.SetCapacity("", "", ec2test.OnDemand, 0)
		_, err := b.try(token("t"))
		b.want(err, "InsufficientInstanceCapacity")
		b.server.SetCapacity("", "", ec2test.OnDemand, -1)
		b.launch(token("t"))
	})
}

func TestTokensAreShortASCII(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.launch(token(strings.Repeat("x", 64)))
		for _, bad := range []string{strings.Repeat("x", 65), "tök"} {
			_, err := b.try(token(bad))
			b.want(err, "InvalidParameterValue")
		}
	})
}

func TestALostAnswerAndTheSDKsRetry(t *testing.T) {
	onBench(t, plain, func(b *bench) {
		b.server.LoseAnswers(run, 1)
		_, err := b.try(token("t"))
		if err == nil || !contains(err, "connection reset by peer") {
			t.Errorf("got error %v", err)
		}
		if n := len(b.server.Instances()); n != 1 {
			t.Fatalf("%d instances after a lost answer", n)
		}
		if id := b.launch(token("t")); id != b.server.Instances()[0].ID {
			t.Errorf("the repeated call returned %s", id)
		}

		cfg := b.config
		cfg.Retryer = nil // the SDK's own
		b.server.LoseAnswers(run, 2)
		out, err := ec2.NewFromConfig(cfg).RunInstances(b.Context(), b.input()) // with a token that the SDK makes
		if err != nil || *out.Instances[0].InstanceId != b.server.Instances()[1].ID {
			t.Errorf("%+v, %v", out, err)
		}
		if n := len(b.server.Instances()); n != 2 {
			t.Errorf("%d instances", n)
		}
		requests := b.server.Requests(run)
		last := requests[len(requests)-1]
		if last.Attempt != 3 || last.Error != "" || requests[len(requests)-2].Error != "lost" {
			t.Errorf("the last attempt: %+v", last)
		}
	})
}

func TestACrowdWithOneToken(t *testing.T) {
	onBench(t, ec2test.Options{}, func(b *bench) {
		var crowd sync.WaitGroup
		for n := range 50 {
			crowd.Go(func() {
				id, err := b.try(token("t"))
				if err != nil || id[0] != "i-00000000000000001" {
					t.Errorf("call %d: %q, %v", n, id, err)
				}
			})
		}
		crowd.Wait()
		if n := len(b.server.Instances()); n != 1 {
			t.Errorf("%d instances", n)
		}
	})
}

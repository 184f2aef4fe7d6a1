package ec2test_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/berth-go/berth/internal/test/ec2test"
)

func TestCallsGoWrong(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.LoseRequests(run, 1)
		_, err := b.try()
		if err == nil || !contains(err, "connection reset by peer") {
			t.Errorf("lost request: %v", err)
		}
		for code, status := range map[string]int{"InternalError": 500, "Unavailable": 503, "RequestLimitExceeded": 503} {
			b.server.Fail(run, 1, code)
			_, err = b.try()
			b.want(err, code)
			if got := statusOf(err); got != status {
				t.Errorf("%s: status %d, want %d", code, got, status)
			}
		}
		b.server.Hang(run, 1)
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err = b.ec2.RunInstances(ctx, b.input())
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("hung: %v after %v", err, time.Since(start))
		}
		if n := len(b.server.Instances()); n != 0 {
			t.Errorf("%d instances of calls that had no effect", n)
		}
		b.launch() // nothing is left of the faults
	})
}

func TestCloseEndsCalls(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.Hang(list, 1)
		b.server.Slow(run, 1, time.Hour)
		var calls sync.WaitGroup
		for _, call := range []func() error{
			func() error { _, err := b.ec2.DescribeInstances(b.Context(), nil); return err },
			func() error { _, err := b.try(); return err },
		} {
			calls.Go(func() {
				if err := call(); err == nil {
					t.Error("a call came back from a server that is closed")
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		b.server.Close()
		calls.Wait()
		if took := time.Since(start); took > 0 || len(b.server.Instances()) > 0 {
			t.Errorf("after %v, %d instances", took, len(b.server.Instances()))
		}
		if _, err := b.try(); err == nil {
			t.Error("a closed server answers")
		}
	})
}

func TestASlowCallHasItsEffectWithoutItsClient(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.Slow(run, 2, time.Minute)
		start := time.Now()
		b.launch()
		if took := time.Since(start); took != time.Minute {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		if _, err := b.ec2.RunInstances(ctx, b.input()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if n := len(b.server.Instances()); n != 1 {
			t.Errorf("%d instances before the effect", n)
		}
		time.Sleep(time.Minute)
		if n := len(b.server.Instances()); n != 2 {
			t.Errorf("%d instances after the effect", n)
		}
	})
}

func TestLatency(t *testing.T) {
	onBench(t, ec2test.Options{}, func(b *bench) {
		start := time.Now()
		b.launch()
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if launched := b.server.Instances()[0].Launched; launched.Sub(start) != 25*time.Millisecond {
			t.Errorf("launched after %v", launched.Sub(start))
		}
	})
}

func TestThrottling(t *testing.T) {
	onBench(t, ec2test.Options{Instant: true, Throttle: 1}, func(b *bench) {
		for range 5 {
			b.launch()
		}
		_, err := b.try()
		b.want(err, "RequestLimitExceeded")
		if statusOf(err) != 503 {
			t.Errorf("status %d", statusOf(err))
		}
		b.found(by("instance-state-name", "running")) // another bucket
		time.Sleep(time.Second)
		b.launch()
		b.launch()
		_, err = b.try()
		b.want(err, "RequestLimitExceeded")
		if n := b.server.Calls(run); n != 9 {
			t.Errorf("%d calls", n)
		}

		for range 50 {
			b.found()
		}
		_, err = b.ec2.DescribeInstances(b.Context(), nil)
		b.want(err, "RequestLimitExceeded") // of everything at once
		b.found(by("instance-state-name", "running"))

		time.Sleep(time.Minute)
		if _, err := b.try(count(1000, 1000), func(in *ec2.RunInstancesInput) { in.SubnetId = ptr(b.server.AddSubnet("us-east-1a", "10.1.0.0/16")) }); err != nil {
			t.Fatal(err)
		}
		_, err = b.try()
		b.want(err, "RequestLimitExceeded") // by instances
		time.Sleep(time.Second)
		b.launch()

		b.server.Throttle(0)
		for range 10 {
			b.launch()
		}
	})
}

func ptr[T any](v T) *T { return &v }

func TestRequestsAreKept(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.launch(token("t-1"), func(in *ec2.RunInstancesInput) { in.UserData = ptr("aGVsbG8=") })
		_, err := b.try(func(in *ec2.RunInstancesInput) { in.ImageId = ptr("ami-00000000") })
		b.want(err, "InvalidAMIID.NotFound")
		all := b.server.Requests("")
		if len(all) != 2 {
			t.Fatalf("%d requests", len(all))
		}
		r := all[0]
		if r.Action != run || string(r.UserData) != "hello" || r.Form.Get("ClientToken") != "t-1" || r.AccessKey != ec2test.AccessKey || r.Region != "us-east-1" ||
			r.Error != "" || r.ID == "" || r.Attempt != 1 {
			t.Errorf("the first: %+v", r)
		}
		if all[1].Error != "InvalidAMIID.NotFound" {
			t.Errorf("the second: %+v", all[1])
		}
	})
}

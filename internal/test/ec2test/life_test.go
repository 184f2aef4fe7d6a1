package ec2test_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/internal/test/ec2test"
)

// plain has the times of an instance's life, and nothing that hides them.
var plain = ec2test.Options{Latency: -1, LaunchLag: -1, TagLag: -1, EndLag: -1}

func TestAnInstanceLives(t *testing.T) {
	onBench(t, plain, func(b *bench) {
		id := b.launch(token("launch-1"), tagged(types.ResourceTypeInstance, "pool", "p1"))
		b.isState(id, 0, types.InstanceStateNamePending)
		b.isState(id, 4999*time.Millisecond, types.InstanceStateNamePending)
		b.isState(id, time.Millisecond, types.InstanceStateNameRunning)
		i := b.described(id)
		if *i.PrivateIpAddress != "10.0.0.4" || *i.PublicIpAddress != "198.18.0.4" || *i.ClientToken != "launch-1" || *i.Tags[0].Value != "p1" ||
			*i.Placement.AvailabilityZone != "us-east-1a" || i.StateReason != nil || len(i.BlockDeviceMappings) != 1 || *i.SecurityGroups[0].GroupId != ec2test.SecurityGroup {
			t.Errorf("it is shown as %+v", i)
		}
		if age := time.Since(*i.LaunchTime); age != 5*time.Second {
			t.Errorf("launched %v ago", age)
		}
		out, err := b.ec2.TerminateInstances(b.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}, SkipOsShutdown: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		if c := out.TerminatingInstances[0]; c.CurrentState.Name != "shutting-down" || c.PreviousState.Name != "running" {
			t.Errorf("terminated from %s to %s", c.PreviousState.Name, c.CurrentState.Name)
		}
		b.isState(id, 0, types.InstanceStateNameShuttingDown)
		b.isState(id, 10*time.Second, types.InstanceStateNameTerminated)
		i = b.described(id)
		if *i.StateReason.Code != "Client.UserInitiatedShutdown" || i.PrivateIpAddress != nil || len(i.BlockDeviceMappings) != 0 {
			t.Errorf("it is shown as %+v", i)
		}
		b.want(b.terminate(id), "") // again
		if left := b.server.Leftovers(); len(left) > 0 {
			t.Errorf("left over: %q", left)
		}
		time.Sleep(time.Hour)
		b.want(b.terminate(id), "InvalidInstanceID.NotFound")
		if got := b.found(); got != nil {
			t.Errorf("still shown: %q", got)
		}
	})
}

func TestNewsAreLate(t *testing.T) {
	opts := ec2test.Options{Latency: -1, LaunchLag: 3 * time.Second, TagLag: 4 * time.Second, EndLag: 5 * time.Second, Pending: time.Second, Ending: time.Second}
	onBench(t, opts, func(b *bench) {
		id := b.launch(token("t"), tagged(types.ResourceTypeInstance, "pool", "p1"))
		unknown := func() {
			t.Helper()
			_, err := b.ec2.DescribeInstances(b.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
			b.want(err, "InvalidInstanceID.NotFound")
			b.want(b.terminate(id), "InvalidInstanceID.NotFound")
			if got := b.found(by("client-token", "t")); got != nil {
				t.Errorf("found %q", got)
			}
		}
		unknown()
		time.Sleep(3*time.Second - 1)
		unknown()
		time.Sleep(time.Nanosecond)
		if got := b.found(by("client-token", "t")); len(got) != 1 {
			t.Errorf("found %q by token", got)
		}
		if got := b.found(by("tag:pool", "p1")); got != nil || len(b.described(id).Tags) != 0 {
			t.Errorf("found %q by a tag that is too new", got)
		}
		time.Sleep(time.Second)
		if got := b.found(by("tag:pool", "p1")); len(got) != 1 {
			t.Errorf("found %q by tag", got)
		}
		b.want(b.terminate(id), "")
		b.isState(id, 4*time.Second, types.InstanceStateNameRunning)
		if is := b.server.Instance(id); is.State != ec2test.Terminated || is.PrivateIP != "" {
			t.Errorf("it really is %+v", is)
		}
		b.isState(id, time.Second, types.InstanceStateNameShuttingDown)
		b.isState(id, time.Second, types.InstanceStateNameTerminated)
	})
}

func TestInstancesEndForReasons(t *testing.T) {
	onBench(t, plain, func(b *bench) {
		for _, c := range []struct {
			reason string
			state  types.InstanceStateName
			do     func(id string)
		}{
			{"Client.UserInitiatedShutdown", "terminated", b.server.Terminate},
			{"Server.InternalError", "terminated", func(id string) { b.server.Kill(id, "Server.InternalError") }},
			{"Client.InstanceInitiatedShutdown", "stopped", b.server.Shutdown},
			{"Server.ScheduledStop", "stopped", b.server.Stop},
		} {
			id := b.launch()
			b.isState(id, 5*time.Second, "running")
			c.do(id)
			b.isState(id, 10*time.Second, c.state)
			if got := *b.described(id).StateReason.Code; got != c.reason {
				t.Errorf("%s: reason %s", c.reason, got)
			}
			b.want(b.terminate(id), "")
			b.isState(id, 10*time.Second, "terminated")
		}
		id := b.launch(func(in *ec2.RunInstancesInput) {
			in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
		})
		b.server.Shutdown(id)
		b.isState(id, 10*time.Second, "terminated")
		for _, reason := range []string{"Client.InternalError", "Server.InsufficientInstanceCapacity", "Client.VolumeLimitExceeded"} {
			b.server.EndAtBoot(1, reason)
			id := b.launch()
			b.isState(id, 4*time.Second, "pending")
			b.isState(id, time.Second, "terminated")
			if got := *b.described(id).StateReason.Code; got != reason {
				t.Errorf("%s: reason %s", reason, got)
			}
		}
	})
}

func TestTerminationsThatDoNotWork(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		a, c := b.launch(), b.launch(func(in *ec2.RunInstancesInput) { in.SubnetId = aws.String(b.server.Subnet("us-east-1c")) })
		protected := b.launch()
		b.server.Protect(protected, true)
		b.want(b.terminate(a, protected, c), "OperationNotPermitted")
		b.isState(a, 0, "running") // in the zone of the protected one
		b.isState(protected, 0, "running")
		b.isState(c, 0, "terminated")
		b.server.Protect(protected, false)
		b.want(b.terminate(protected), "")
		b.isState(protected, 0, "terminated")

		b.server.IgnoreTerminations(a, 1)
		b.want(b.terminate(a), "")
		b.isState(a, time.Hour, "running")
		b.want(b.terminate(a), "")
		b.isState(a, 0, "terminated")
	})
}

func TestOneWrongIDSpoilsAll(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		id := b.launch()
		const no1, no2 = "i-0000000000000dead", "i-0000000000000beef"
		err := b.terminate(no1, id, no2)
		b.want(err, "InvalidInstanceID.NotFound")
		if want := "The instance IDs '" + no1 + ", " + no2 + "' do not exist"; err == nil || !contains(err, want) {
			t.Errorf("%v, want %s", err, want)
		}
		b.want(b.terminate(id, "i-nonsense"), "InvalidInstanceID.Malformed")
		_, err = b.ec2.DescribeInstances(b.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id, no1}})
		b.want(err, "InvalidInstanceID.NotFound")
		_, err = b.ec2.DescribeInstanceStatus(b.Context(), &ec2.DescribeInstanceStatusInput{InstanceIds: []string{id, no1}})
		b.want(err, "InvalidInstanceID.NotFound")
		b.isState(id, 0, "running")
	})
}

func TestStatusChecks(t *testing.T) {
	onBench(t, plain, func(b *bench) {
		id := b.launch()
		status := func() (s types.InstanceStatus) {
			t.Helper()
			out, err := b.ec2.DescribeInstanceStatus(b.Context(), &ec2.DescribeInstanceStatusInput{InstanceIds: []string{id}})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.InstanceStatuses) > 0 {
				s = out.InstanceStatuses[0]
			}
			return s
		}
		if status().InstanceId != nil {
			t.Error("the status of an instance that does not run is shown")
		}
		time.Sleep(5 * time.Second)
		if got := status().SystemStatus.Status; got != types.SummaryStatusInitializing {
			t.Errorf("at first: %s", got)
		}
		time.Sleep(2 * time.Minute)
		if got := status().SystemStatus.Status; got != types.SummaryStatusOk {
			t.Errorf("later: %s", got)
		}
		b.server.Impair(id, ec2test.InstanceCheck)
		at := time.Now().Add(24 * time.Hour)
		b.server.Schedule(id, "instance-retirement", at)
		s := status()
		if s.SystemStatus.Status != "ok" || s.InstanceStatus.Status != "impaired" || s.InstanceStatus.Details[0].ImpairedSince == nil {
			t.Errorf("impaired: %+v", s)
		}
		if len(s.Events) != 1 || s.Events[0].Code != types.EventCodeInstanceRetirement || !s.Events[0].NotBefore.Equal(at) {
			t.Errorf("events: %+v", s.Events)
		}
		out, err := b.ec2.DescribeInstanceStatus(b.Context(), &ec2.DescribeInstanceStatusInput{Filters: []types.Filter{by("instance-status.status", "impaired")}, IncludeAllInstances: aws.Bool(true)})
		if err != nil || len(out.InstanceStatuses) != 1 {
			t.Errorf("by filter: %v, %v", out, err)
		}
		b.server.Recover(id, ec2test.InstanceCheck)
		if got := status().InstanceStatus.Status; got != "ok" {
			t.Errorf("recovered: %s", got)
		}
	})
}

func TestConsoleAndAttributes(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		data := base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\ntrue\n"))
		id := b.launch(func(in *ec2.RunInstancesInput) { in.UserData = &data })
		b.server.WriteConsole(id, "cloud-init failed\n")
		out, err := b.ec2.GetConsoleOutput(b.Context(), &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := base64.StdEncoding.DecodeString(*out.Output); string(text) != "cloud-init failed\n" {
			t.Errorf("console: %q", text)
		}
		attr, err := b.ec2.DescribeInstanceAttribute(b.Context(), &ec2.DescribeInstanceAttributeInput{InstanceId: &id, Attribute: types.InstanceAttributeNameUserData})
		if err != nil || *attr.UserData.Value != data {
			t.Errorf("attribute: %+v, %v", attr, err)
		}
		mod, err := b.ec2.ModifyInstanceMetadataOptions(b.Context(), &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: &id, HttpEndpoint: types.InstanceMetadataEndpointStateDisabled})
		if err != nil || mod.InstanceMetadataOptions.HttpEndpoint != "disabled" {
			t.Errorf("modified: %+v, %v", mod, err)
		}
		if got := b.described(id).MetadataOptions; got.HttpEndpoint != "disabled" || got.HttpTokens != "optional" {
			t.Errorf("metadata options: %+v", got)
		}
	})
}

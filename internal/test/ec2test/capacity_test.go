package ec2test_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/internal/test/ec2test"
)

func typed(name types.InstanceType) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.InstanceType = name }
}

func in(subnet string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.SubnetId = &subnet }
}

func anywhere(in *ec2.RunInstancesInput) { in.SubnetId = nil }

func TestCapacity(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.SetCapacity("us-east-1a", "t3.large", ec2test.OnDemand, 3)
		b.server.SetCapacity("us-east-1a", "", ec2test.Spot, 0)
		ids, err := b.try(count(2, 5))
		if err != nil || len(ids) != 3 {
			t.Fatalf("of 2 to 5 where there are 3: %q, %v", ids, err)
		}
		_, err = b.try()
		b.want(err, "InsufficientInstanceCapacity")
		if statusOf(err) != 500 {
			t.Errorf("status %d", statusOf(err))
		}
		_, err = b.try(spot, typed("m7i.large"))
		b.want(err, "InsufficientInstanceCapacity")
		b.launch(typed("m7i.large"))                      // another type
		b.launch(in(b.server.Subnet("us-east-1b")), spot) // another zone
		b.want(b.terminate(ids[0]), "")
		_, err = b.try(count(2, 2)) // all or nothing
		b.want(err, "InsufficientInstanceCapacity")
		b.launch()
		id := b.launch(anywhere) // EC2 chooses a zone that has it
		if zone := b.server.Instance(id).Zone; zone != "us-east-1b" {
			t.Errorf("launched in %s", zone)
		}
		b.server.SetCapacity("", "t3.large", ec2test.OnDemand, 0)
		b.server.SetCapacity("us-east-1a", "t3.large", ec2test.OnDemand, -1)
		_, err = b.try(anywhere)
		b.want(err, "InsufficientInstanceCapacity")
	})
}

func TestTheSDKRepeatsWhatLacksCapacity(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		cfg := b.config
		cfg.Retryer = nil
		b.server.SetCapacity("", "", ec2test.OnDemand, 0)
		_, err := ec2.NewFromConfig(cfg).RunInstances(b.Context(), b.input())
		b.want(err, "InsufficientInstanceCapacity")
		if n := b.server.Calls(run); n != 3 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestQuotas(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.SetQuota(ec2test.OnDemand, 5)
		b.server.SetQuota(ec2test.Spot, 4)
		ids, err := b.try(count(1, 3))
		if err != nil || len(ids) != 2 {
			t.Fatalf("with 5 CPUs: %q, %v", ids, err)
		}
		_, err = b.try(anywhere)
		b.want(err, "VcpuLimitExceeded")
		b.launch(spot, typed("m7i.xlarge"))
		_, err = b.try(spot)
		b.want(err, "MaxSpotInstanceCountExceeded")
		b.want(b.terminate(ids...), "")
		b.launch()
		b.server.SetInstanceLimit(2)
		_, err = b.try()
		b.want(err, "InstanceLimitExceeded")
	})
}

func TestTypesThatAZoneDoesNotHave(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.Withhold("us-east-1a", "t3.large")
		_, err := b.try()
		b.want(err, "Unsupported")
		out, err := b.ec2.DescribeInstanceTypeOfferings(b.Context(), &ec2.DescribeInstanceTypeOfferingsInput{
			LocationType: types.LocationTypeAvailabilityZone, Filters: []types.Filter{by("instance-type", "t3.large")},
		})
		if err != nil || len(out.InstanceTypeOfferings) != 2 || *out.InstanceTypeOfferings[0].Location != "us-east-1b" {
			t.Errorf("offered: %+v, %v", out, err)
		}
		_, err = b.try(typed("t9.large"))
		b.want(err, "InvalidParameterValue")
		_, err = b.try(typed("m7g.large")) // an image of the other architecture
		b.want(err, "InvalidParameterValue")
	})
}

func TestAddresses(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		tiny := b.server.AddSubnet("us-east-1a", "10.9.0.0/28")
		ids, err := b.try(in(tiny), count(1, 20))
		if err != nil || len(ids) != 11 {
			t.Fatalf("%d instances in a subnet of 11 addresses, %v", len(ids), err)
		}
		_, err = b.try(in(tiny))
		b.want(err, "InsufficientFreeAddressesInSubnet")
		old := b.server.Instance(ids[3])
		if old.PrivateIP != "10.9.0.7" || old.PublicIP != "" {
			t.Errorf("the fourth: %+v", old)
		}
		b.want(b.terminate(old.ID), "")
		if id := b.launch(in(tiny)); b.server.Instance(id).PrivateIP != old.PrivateIP {
			t.Errorf("the only free address was not given away")
		}
		b.want(b.terminate(ids[5], ids[6], ids[7]), "")
		b.server.NextAddress(tiny, "10.9.0.10")
		if id := b.launch(in(tiny)); b.server.Instance(id).PrivateIP != "10.9.0.10" {
			t.Errorf("the wrong address: %+v", b.server.Instance(id))
		}
		out, err := b.ec2.DescribeSubnets(b.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{tiny}})
		if err != nil || *out.Subnets[0].AvailableIpAddressCount != 2 {
			t.Errorf("free: %+v, %v", out, err)
		}
		_, err = b.try(in("subnet-00000000"))
		b.want(err, "InvalidSubnetID.NotFound")
	})
}

func TestAnAddressHasTwoInstancesWhileTheNewsAreLate(t *testing.T) {
	opts := plain
	opts.EndLag, opts.Ending = 0, -1 // the default lag, and an end that takes no time
	onBench(t, opts, func(b *bench) {
		old := b.launch()
		b.want(b.terminate(old), "")
		b.server.NextAddress(b.server.Subnet("us-east-1a"), "10.0.0.4")
		b.launch()
		if got := b.found(by("private-ip-address", "10.0.0.4")); len(got) != 2 {
			t.Errorf("shown with one address: %q", got)
		}
	})
}

func TestMoreThanWasAskedFor(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.Overshoot(1)
		ids, err := b.try(token("t"))
		if err != nil || len(ids) != 2 {
			t.Errorf("%q, %v", ids, err)
		}
		if got := b.found(by("client-token", "t")); len(got) != 2 {
			t.Errorf("found %q", got)
		}
	})
}

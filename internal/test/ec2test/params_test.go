package ec2test_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/internal/test/ec2test"
)

func TestNothingIsIgnored(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		subnet, group := b.server.Subnet("us-east-1a"), b.server.AddSecurityGroup("docker", ec2test.Rule{Port: 2376, Source: ec2test.SecurityGroup})
		type change = func(in *ec2.RunInstancesInput)
		for _, c := range []struct {
			what, code string
			change     change
		}{
			{"a parameter that is not modelled", "UnknownParameter", func(in *ec2.RunInstancesInput) { in.KernelId = ptr("aki-1") }},
			{"a part of one", "UnknownParameter", func(in *ec2.RunInstancesInput) {
				in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: ptr("/dev/sdb"), VirtualName: ptr("ephemeral0")}}
			}},
			{"a value that is none", "InvalidParameterValue", func(in *ec2.RunInstancesInput) { in.InstanceInitiatedShutdownBehavior = "explode" }},
			{"an empty type", "InvalidParameterValue", func(in *ec2.RunInstancesInput) { in.InstanceType = "" }},
			{"no instances", "InvalidParameterValue", count(0, 0)},
			{"fewer at most than at least", "InvalidParameterValue", count(2, 1)},
			{"no image", "MissingParameter", func(in *ec2.RunInstancesInput) { in.ImageId = nil }},
			{"no ID", "InvalidAMIID.Malformed", func(in *ec2.RunInstancesInput) { in.ImageId = ptr("ami-x") }},
			{"a hop limit", "InvalidParameterValue", func(in *ec2.RunInstancesInput) {
				in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpPutResponseHopLimit: ptr(int32(65))}
			}},
			{"no such group", "InvalidGroup.NotFound", func(in *ec2.RunInstancesInput) { in.SecurityGroupIds = []string{"sg-00000000"} }},
			{"no such key", "InvalidKeyPair.NotFound", func(in *ec2.RunInstancesInput) { in.KeyName = ptr("mine") }},
			{"no such profile", "InvalidParameterValue", profile("nobody")},
			{"an interface and a subnet", "InvalidParameterCombination", func(in *ec2.RunInstancesInput) {
				in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: ptr(int32(0)), SubnetId: &subnet}}
			}},
			{"a volume smaller than its snapshot", "InvalidBlockDeviceMapping", disk("/dev/xvda", 8)},
			{"a volume without a size", "MissingParameter", func(in *ec2.RunInstancesInput) {
				in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: ptr("/dev/sdb"), Ebs: &types.EbsBlockDevice{Encrypted: ptr(true)}}}
			}},
			{"too much user data", "InvalidParameterValue", func(in *ec2.RunInstancesInput) {
				in.UserData = ptr(base64.StdEncoding.EncodeToString(make([]byte, 16385)))
			}},
			{"user data that is not base64", "InvalidUserData.Malformed", func(in *ec2.RunInstancesInput) { in.UserData = ptr("#!/bin/sh") }},
		} {
			_, err := b.try(c.change)
			if codeOf(err) != c.code {
				t.Errorf("%s: %v, want %s", c.what, err, c.code)
			}
		}
		if n := len(b.server.Instances()); n > 0 {
			t.Fatalf("%d instances", n)
		}

		b.server.AddInstanceProfile("berth", 0)
		id := b.launch(profile("berth"), func(in *ec2.RunInstancesInput) {
			in.SubnetId = nil
			in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{
				DeviceIndex: ptr(int32(0)), SubnetId: &subnet, Groups: []string{group}, AssociatePublicIpAddress: ptr(false), DeleteOnTermination: ptr(true),
			}}
			in.BlockDeviceMappings = []types.BlockDeviceMapping{
				{DeviceName: ptr("/dev/xvda"), Ebs: &types.EbsBlockDevice{VolumeSize: ptr(int32(100)), VolumeType: "gp3", Encrypted: ptr(true), DeleteOnTermination: ptr(true)}},
				{DeviceName: ptr("/dev/sdb"), Ebs: &types.EbsBlockDevice{VolumeSize: ptr(int32(10))}},
			}
			in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpTokens: "required", HttpPutResponseHopLimit: ptr(int32(1)), HttpEndpoint: "enabled", HttpProtocolIpv6: "disabled"}
			in.UserData = ptr(base64.StdEncoding.EncodeToString(make([]byte, 16384)))
			in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
			in.CreditSpecification = &types.CreditSpecificationRequest{CpuCredits: ptr("standard")}
		})
		i := b.server.Instance(id)
		if i.PublicIP != "" || i.SecurityGroups[0] != group || i.Metadata.Tokens != "required" || len(i.UserData) != 16384 || i.ShutdownBehavior != "terminate" {
			t.Errorf("%+v", i)
		}
		volumes, err := b.ec2.DescribeVolumes(b.Context(), nil)
		if err != nil || len(volumes.Volumes) != 2 || *volumes.Volumes[0].Size != 100 || !*volumes.Volumes[0].Encrypted {
			t.Fatalf("volumes: %+v, %v", volumes, err)
		}
		b.want(b.terminate(id), "")
		if left := b.server.Leftovers(); len(left) != 1 || left[0] != *volumes.Volumes[1].VolumeId {
			t.Errorf("left over: %q", left) // the second volume was not to be deleted
		}
	})
}

func disk(device string, gib int32) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: &device, Ebs: &types.EbsBlockDevice{VolumeSize: &gib}}}
	}
}

func TestAProfileIsKnownLate(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.AddInstanceProfile("berth", 10*time.Second)
		_, err := b.try(profile("berth"))
		b.want(err, "InvalidParameterValue")
		if err == nil || !strings.Contains(err.Error(), "Invalid IAM Instance Profile name") {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		b.launch(profile("berth"))
	})
}

func TestOtherCallsAndActions(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		_, err := b.ec2.DescribeRegions(b.Context(), nil)
		b.want(err, "InvalidAction")
		_, err = b.ec2.DescribeSubnets(b.Context(), &ec2.DescribeSubnetsInput{Filters: []types.Filter{by("colour", "red")}})
		b.want(err, "InvalidParameterValue")
		_, err = b.ec2.DescribeInstances(b.Context(), &ec2.DescribeInstancesInput{IncludeManagedResources: ptr(true)})
		b.want(err, "UnknownParameter")
		_, err = b.ec2.TerminateInstances(b.Context(), &ec2.TerminateInstancesInput{})
		if err == nil {
			t.Error("nothing was terminated")
		}
	})
}

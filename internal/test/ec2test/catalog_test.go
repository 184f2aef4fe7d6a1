package ec2test_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/berth-go/berth/internal/test/ec2test"
)

func TestImages(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		for name, arch := range map[string]types.ArchitectureValues{
			ec2test.ECSAmd64: "x86_64", ec2test.ECSArm64: "arm64", ec2test.AL2023Amd64: "x86_64", ec2test.AL2023Arm64: "arm64",
			ec2test.UbuntuAmd64: "x86_64", ec2test.UbuntuArm64: "arm64",
		} {
			got, err := b.ssm.GetParameter(b.Context(), &ssm.GetParameterInput{Name: &name})
			if err != nil {
				t.Fatal(err)
			}
			out, err := b.ec2.DescribeImages(b.Context(), &ec2.DescribeImagesInput{ImageIds: []string{*got.Parameter.Value}})
			if err != nil {
				t.Fatal(err)
			}
			i := out.Images[0]
			if i.Architecture != arch || i.State != types.ImageStateAvailable || *i.BlockDeviceMappings[0].DeviceName != *i.RootDeviceName || *i.BlockDeviceMappings[0].Ebs.VolumeSize < 8 {
				t.Errorf("%s: %+v", name, i)
			}
		}
		_, err := b.ssm.GetParameter(b.Context(), &ssm.GetParameterInput{Name: ptr("/nothing")})
		b.want(err, "ParameterNotFound")
		some, err := b.ssm.GetParameters(b.Context(), &ssm.GetParametersInput{Names: []string{ec2test.ECSAmd64, "/nothing"}})
		if err != nil || len(some.Parameters) != 1 || len(some.InvalidParameters) != 1 {
			t.Errorf("%+v, %v", some, err)
		}
	})
}

func TestImagesComeAndGo(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		old := b.server.Image(ec2test.ECSAmd64)
		pinned := func(in *ec2.RunInstancesInput) { in.ImageId = &old }
		newer := b.server.ReleaseImage(ec2test.ECSAmd64)
		got, err := b.ssm.GetParameter(b.Context(), &ssm.GetParameterInput{Name: ptr(ec2test.ECSAmd64)})
		if err != nil || *got.Parameter.Value != newer || got.Parameter.Version != 2 {
			t.Errorf("%+v, %v", got, err)
		}
		b.launch(pinned)
		b.server.Unshare(old)
		_, err = b.try(pinned)
		b.want(err, "AuthFailure")
		b.server.Deregister(newer)
		_, err = b.try()
		b.want(err, "InvalidAMIID.NotFound")
		_, err = b.ec2.DescribeImages(b.Context(), &ec2.DescribeImagesInput{ImageIds: []string{newer}})
		b.want(err, "InvalidAMIID.NotFound")
	})
}

func TestTypesAndNetwork(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		out, err := b.ec2.DescribeInstanceTypes(b.Context(), &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"t3.large", "m7g.large"}})
		if err != nil || len(out.InstanceTypes) != 2 {
			t.Fatalf("%+v, %v", out, err)
		}
		if g := out.InstanceTypes[0]; g.InstanceType != "m7g.large" || g.ProcessorInfo.SupportedArchitectures[0] != "arm64" || *g.VCpuInfo.DefaultVCpus != 2 || *g.MemoryInfo.SizeInMiB != 8192 {
			t.Errorf("%+v", g)
		}
		_, err = b.ec2.DescribeInstanceTypes(b.Context(), &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"t9.large"}})
		b.want(err, "InvalidInstanceType")

		vpcs, err := b.ec2.DescribeVpcs(b.Context(), &ec2.DescribeVpcsInput{Filters: []types.Filter{by("is-default", "true")}})
		if err != nil || len(vpcs.Vpcs) != 1 || *vpcs.Vpcs[0].VpcId != ec2test.VPC {
			t.Errorf("%+v, %v", vpcs, err)
		}
		subnets, err := b.ec2.DescribeSubnets(b.Context(), &ec2.DescribeSubnetsInput{Filters: []types.Filter{by("vpc-id", ec2test.VPC), by("default-for-az", "true")}})
		if err != nil || len(subnets.Subnets) != 3 || *subnets.Subnets[2].AvailabilityZone != "us-east-1c" {
			t.Errorf("%+v, %v", subnets, err)
		}
		id := b.server.AddSecurityGroup("docker", ec2test.Rule{Port: 2376, Source: ec2test.SecurityGroup}, ec2test.Rule{Port: 22, Source: "10.0.0.0/8"})
		groups, err := b.ec2.DescribeSecurityGroups(b.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
		if err != nil {
			t.Fatal(err)
		}
		rules := groups.SecurityGroups[0].IpPermissions
		if len(rules) != 2 || *rules[0].FromPort != 2376 || *rules[0].UserIdGroupPairs[0].GroupId != ec2test.SecurityGroup || *rules[1].IpRanges[0].CidrIp != "10.0.0.0/8" {
			t.Errorf("%+v", rules)
		}
		me, err := b.sts.GetCallerIdentity(b.Context(), nil)
		if err != nil || *me.Account != ec2test.Account || *me.Arn == "" || *me.UserId == "" {
			t.Errorf("%+v, %v", me, err)
		}
	})
}

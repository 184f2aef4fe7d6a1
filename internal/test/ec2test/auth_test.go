package ec2test_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/berth-go/berth/internal/test/ec2test"
)

// errorsOf calls each service once.
func (b *bench) errorsOf(cfg aws.Config) (ofEC2, ofSTS, ofSSM error) {
	_, ofEC2 = ec2.NewFromConfig(cfg).DescribeInstances(b.Context(), nil)
	_, ofSTS = sts.NewFromConfig(cfg).GetCallerIdentity(b.Context(), nil)
	_, ofSSM = ssm.NewFromConfig(cfg).GetParameter(b.Context(), &ssm.GetParameterInput{Name: ptr(ec2test.ECSAmd64)})
	return ofEC2, ofSTS, ofSSM
}

func (b *bench) wantAll(cfg aws.Config, ec2Code, stsCode, ssmCode string) {
	b.Helper()
	ofEC2, ofSTS, ofSSM := b.errorsOf(cfg)
	b.want(ofEC2, ec2Code)
	b.want(ofSTS, stsCode)
	b.want(ofSSM, ssmCode)
}

func TestWhoMayCall(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.wantAll(b.config, "", "", "")
		other := b.config
		other.Credentials = credentials.NewStaticCredentialsProvider("AKIAOTHER", "secret", "session")
		b.wantAll(other, "AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException")
		b.server.AddKey("AKIAOTHER")
		b.wantAll(other, "", "", "")
		b.server.ExpireKey("AKIAOTHER")
		b.wantAll(other, "RequestExpired", "ExpiredToken", "ExpiredTokenException")
		b.server.RemoveKey("AKIAOTHER")
		b.wantAll(other, "AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException")
		far := b.config
		far.Region = "eu-west-1"
		b.wantAll(far, "AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException")
		unsigned := b.config
		unsigned.Credentials = aws.AnonymousCredentials{}
		_, err := ec2.NewFromConfig(unsigned).DescribeInstances(b.Context(), nil)
		b.want(err, "AuthFailure")
		if statusOf(err) != 401 {
			t.Errorf("status %d", statusOf(err))
		}
	})
}

func TestClocksDiffer(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.SkewClock(4 * time.Minute)
		b.wantAll(b.config, "", "", "")
		b.server.SkewClock(14 * time.Minute)
		b.wantAll(b.config, "AuthFailure", "", "")
		b.server.SkewClock(-16 * time.Minute)
		b.wantAll(b.config, "AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException")
		repeats := b.config
		repeats.Retryer = nil
		b.wantAll(repeats, "", "", "") // the SDK learns the time from the answer's date
	})
}

func TestDeniedActions(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		b.server.Deny(run)
		_, err := b.try()
		b.want(err, "UnauthorizedOperation")
		if statusOf(err) != 403 || !contains(err, "Encoded authorization failure message: ") {
			t.Errorf("denied: %v", err)
		}
		_, err = b.try(func(in *ec2.RunInstancesInput) { in.DryRun = ptr(true) })
		b.want(err, "UnauthorizedOperation")
		b.server.Allow(run)
		b.server.Deny("ec2:CreateTags")
		b.launch()
		_, err = b.try(tagged(types.ResourceTypeInstance, "k", "v"))
		b.want(err, "UnauthorizedOperation")
		b.server.AddInstanceProfile("berth", 0)
		b.server.Deny("iam:PassRole")
		_, err = b.try(profile("berth"))
		b.want(err, "UnauthorizedOperation")
		b.server.Deny("ssm:GetParameter")
		_, err = b.ssm.GetParameter(b.Context(), &ssm.GetParameterInput{Name: ptr("/any")})
		b.want(err, "AccessDeniedException")
	})
}

func profile(name string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: &name}
	}
}

func TestDryRuns(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		id := b.launch(spot)
		dry, ctx := ptr(true), b.Context()
		request := b.server.Instance(id).SpotRequestID
		calls := map[string]func() error{
			"RunInstances": func() error { _, err := b.try(func(in *ec2.RunInstancesInput) { in.DryRun = dry }); return err },
			"TerminateInstances": func() error {
				_, err := b.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{DryRun: dry, InstanceIds: []string{id}})
				return err
			},
			"CreateTags": func() error {
				_, err := b.ec2.CreateTags(ctx, &ec2.CreateTagsInput{DryRun: dry, Resources: []string{id}, Tags: pairsOf([]string{"k", "v"})})
				return err
			},
			"DescribeInstances": func() error {
				_, err := b.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{DryRun: dry})
				return err
			},
			"DescribeInstanceStatus": func() error {
				_, err := b.ec2.DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{DryRun: dry})
				return err
			},
			"DescribeSubnets": func() error { _, err := b.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{DryRun: dry}); return err },
			"DescribeSecurityGroups": func() error {
				_, err := b.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{DryRun: dry})
				return err
			},
			"DescribeImages": func() error { _, err := b.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{DryRun: dry}); return err },
			"DescribeInstanceTypes": func() error {
				_, err := b.ec2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{DryRun: dry})
				return err
			},
			"DescribeTypeOfferings": func() error {
				_, err := b.ec2.DescribeInstanceTypeOfferings(ctx, &ec2.DescribeInstanceTypeOfferingsInput{DryRun: dry})
				return err
			},
			"GetConsoleOutput": func() error {
				_, err := b.ec2.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{DryRun: dry, InstanceId: &id})
				return err
			},
			"DescribeSpotRequests": func() error {
				_, err := b.ec2.DescribeSpotInstanceRequests(ctx, &ec2.DescribeSpotInstanceRequestsInput{DryRun: dry})
				return err
			},
			"CancelSpotRequests": func() error {
				_, err := b.ec2.CancelSpotInstanceRequests(ctx, &ec2.CancelSpotInstanceRequestsInput{DryRun: dry, SpotInstanceRequestIds: []string{request}})
				return err
			},
			"DescribeVpcs":    func() error { _, err := b.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{DryRun: dry}); return err },
			"DescribeVolumes": func() error { _, err := b.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{DryRun: dry}); return err },
			"DescribeNetworkInterfaces": func() error {
				_, err := b.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{DryRun: dry})
				return err
			},
			"DescribeInstanceAttribute": func() error {
				_, err := b.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{DryRun: dry, InstanceId: &id, Attribute: "userData"})
				return err
			},
			"ModifyInstanceMetadataOptions": func() error {
				_, err := b.ec2.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{DryRun: dry, InstanceId: &id, HttpEndpoint: "disabled"})
				return err
			},
		}
		for name, call := range calls {
			err := call()
			if codeOf(err) != "DryRunOperation" || statusOf(err) != 412 {
				t.Errorf("%s: %v", name, err)
			}
		}
		i := b.server.Instance(id)
		if len(b.server.Instances()) != 1 || i.State != ec2test.Running || len(i.Tags) != 0 || i.Metadata.Endpoint != "enabled" {
			t.Errorf("a dry run had an effect: %+v", i)
		}
		_, err := b.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{DryRun: dry, InstanceIds: []string{"i-00000000"}})
		b.want(err, "InvalidInstanceID.NotFound") // what would not succeed says so
	})
}

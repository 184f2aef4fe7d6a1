package ec2test_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/berth-go/berth/internal/test/ec2test"
)

const (
	run       = "ec2:RunInstances"
	list      = "ec2:DescribeInstances"
	terminate = "ec2:TerminateInstances"
)

// bench is a server with the real clients of the SDK, which repeat nothing.
type bench struct {
	*testing.T
	server *ec2test.Server
	config aws.Config
	ec2    *ec2.Client
	ssm    *ssm.Client
	sts    *sts.Client
}

// onBench runs a test in virtual time.
func onBench(t *testing.T, opts ec2test.Options, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := ec2test.New(opts)
		defer s.Close()
		cfg := aws.Config{
			Region: "us-east-1", HTTPClient: s.Client(), BaseEndpoint: aws.String(s.URL()),
			Credentials: credentials.NewStaticCredentialsProvider(ec2test.AccessKey, "secret", ""),
			Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		}
		test(&bench{t, s, cfg, ec2.NewFromConfig(cfg), ssm.NewFromConfig(cfg), sts.NewFromConfig(cfg)})
	})
}

var instant = ec2test.Options{Instant: true}

// input is a launch of one instance, and of what a pool's driver would send.
func (b *bench) input(change ...func(*ec2.RunInstancesInput)) *ec2.RunInstancesInput {
	in := &ec2.RunInstancesInput{
		ImageId:      aws.String(b.server.Image(ec2test.ECSAmd64)),
		InstanceType: types.InstanceTypeT3Large,
		MinCount:     aws.Int32(1), MaxCount: aws.Int32(1),
		SubnetId: aws.String(b.server.Subnet("us-east-1a")),
	}
	for _, c := range change {
		c(in)
	}
	return in
}

func count(least, most int32) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.MinCount, in.MaxCount = &least, &most }
}

func token(t string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.ClientToken = &t }
}

func spot(in *ec2.RunInstancesInput) {
	in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot, SpotOptions: &types.SpotMarketOptions{
		SpotInstanceType: types.SpotInstanceTypeOneTime, InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate,
	}}
}

func tagged(of types.ResourceType, pairs ...string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.TagSpecifications = append(in.TagSpecifications, types.TagSpecification{ResourceType: of, Tags: pairsOf(pairs)})
	}
}

func pairsOf(pairs []string) []types.Tag {
	var tags []types.Tag
	for i := 0; i < len(pairs); i += 2 {
		tags = append(tags, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	return tags
}

// try launches and returns the IDs.
func (b *bench) try(change ...func(*ec2.RunInstancesInput)) ([]string, error) {
	b.Helper()
	out, err := b.ec2.RunInstances(b.Context(), b.input(change...))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range out.Instances {
		ids = append(ids, *i.InstanceId)
	}
	return ids, nil
}

// launch launches what must succeed and returns the first ID.
func (b *bench) launch(change ...func(*ec2.RunInstancesInput)) string {
	b.Helper()
	ids, err := b.try(change...)
	if err != nil {
		b.Fatal(err)
	}
	return ids[0]
}

// described returns an instance as DescribeInstances shows it.
func (b *bench) described(id string) types.Instance {
	b.Helper()
	out, err := b.ec2.DescribeInstances(b.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		b.Fatal(err)
	}
	return out.Reservations[0].Instances[0]
}

// found returns the IDs that DescribeInstances finds by filters, each "name=value".
func (b *bench) found(filters ...types.Filter) []string {
	b.Helper()
	out, err := b.ec2.DescribeInstances(b.Context(), &ec2.DescribeInstancesInput{Filters: filters})
	if err != nil {
		b.Fatal(err)
	}
	var ids []string
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			ids = append(ids, *i.InstanceId)
		}
	}
	return ids
}

func by(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

func (b *bench) terminate(ids ...string) error {
	_, err := b.ec2.TerminateInstances(b.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids})
	return err
}

// isState waits, and then expects a state of an instance.
func (b *bench) isState(id string, after time.Duration, want types.InstanceStateName) {
	b.Helper()
	time.Sleep(after)
	if got := b.described(id).State.Name; got != want {
		b.Errorf("%s is %s after %v, want %s", id, got, after, want)
	}
}

// want expects an error of a code, or none for "".
func (b *bench) want(err error, code string) {
	b.Helper()
	if got := codeOf(err); got != code {
		b.Errorf("got error %v, want %q", err, code)
	}
}

func codeOf(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.ErrorCode()
	}
	return err.Error()
}

func statusOf(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return http.StatusOK
}

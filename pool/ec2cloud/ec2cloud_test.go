package ec2cloud_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/cloudtest"
)

// TestConformance runs the suite over EC2's wire protocol, with its lags.
func TestConformance(t *testing.T) {
	rigs := make(map[pool.Cloud]*rig)
	hangs := make(map[pool.Cloud]chan struct{})
	cloudtest.Run(t, cloudtest.Harness{
		Virtual: true,
		Spec:    spec(""),
		New: func(t *testing.T) pool.Cloud {
			r, hang := newRig(t, ec2test.Options{}), make(chan struct{})
			r.opts.Sealer = &hangingSealer{r.opts.Sealer, hang}
			c := r.connect()
			rigs[c], hangs[c] = r, hang
			return c
		},
		Foreign: func(t *testing.T, c pool.Cloud) (string, func() bool) {
			server := rigs[c].server
			out, err := ec2.NewFromConfig(*config(server)).RunInstances(t.Context(), &ec2.RunInstancesInput{
				ImageId: aws.String(server.Image(ec2test.AL2023Amd64)), InstanceType: "t3.large", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			})
			if err != nil {
				t.Fatal(err)
			}
			id := *out.Instances[0].InstanceId
			return id, func() bool { return server.Instance(id).State == ec2test.Running }
		},
		Protect: func(_ *testing.T, c pool.Cloud, cloudID string) { rigs[c].server.Protect(cloudID, true) },
		Hang: func(_ *testing.T, c pool.Cloud) {
			for _, action := range []string{run, list, terminate, status} {
				rigs[c].server.Hang(action, 100)
			}
			close(hangs[c])
		},
	})
}

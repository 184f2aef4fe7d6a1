package ec2cloud_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/seal"
)

// secret is in the user data, and must appear only at EC2.
const secret = "#!/bin/sh\nkey=plain-private-key\n"

const secretKey = "wJalrXUtnFEMI/K7MDENG" // of AWS

const (
	run        = "ec2:RunInstances"
	list       = "ec2:DescribeInstances"
	terminate  = "ec2:TerminateInstances"
	status     = "ec2:DescribeInstanceStatus"
	spotStatus = "ec2:DescribeSpotInstanceRequests"
	getParam   = "ssm:GetParameter"

	describeVpcs = "ec2:DescribeVpcs"
)

// rig is a server and a Cloud on it, in virtual time.
type rig struct {
	*testing.T
	server *ec2test.Server
	opts   ec2cloud.Options
	cloud  *ec2cloud.Cloud
	log    *logBook
}

// quick has the usual times of an instance's life, without lags that hide them.
var quick = ec2test.Options{Latency: -1, LaunchLag: -1, TagLag: -1, EndLag: -1}

// inRig runs a test. change may change the options and the server.
func inRig(t *testing.T, opts ec2test.Options, change func(*rig), test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, opts)
		if change != nil {
			change(r)
		}
		r.cloud = r.connect()
		test(r)
		r.noSecret("the log", r.log.String())
	})
}

func newRig(t *testing.T, opts ec2test.Options) *rig {
	t.Helper()
	s := ec2test.New(opts)
	t.Cleanup(s.Close)
	sealer, err := seal.AES(bytes.Repeat([]byte{7}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, server: s, log: &logBook{}}
	r.opts = ec2cloud.Options{
		AWS: config(s), Pool: "p1", Sealer: sealer, Subnets: []string{s.Subnet("us-east-1a"), s.Subnet("us-east-1b")},
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	return r
}

func config(s *ec2test.Server) *aws.Config {
	return &aws.Config{
		Region: "us-east-1", HTTPClient: s.Client(), BaseEndpoint: aws.String(s.URL()),
		Credentials: credentials.NewStaticCredentialsProvider(ec2test.AccessKey, secretKey, ""),
	}
}

// connect makes a Cloud, as another process would.
func (r *rig) connect() *ec2cloud.Cloud {
	r.Helper()
	c, err := ec2cloud.New(r.Context(), r.opts)
	if err != nil {
		r.Fatal(err)
	}
	return c
}

func spec(id string) pool.Spec {
	return pool.Spec{Pool: "p1", PoolUID: "uid-1", LaunchID: id, Type: "t3.large", UserData: []byte(secret)}
}

func (r *rig) prepare(id string) pool.Frozen {
	r.Helper()
	f, err := r.cloud.Prepare(r.Context(), spec(id))
	if err != nil {
		r.Fatal(err)
	}
	return f
}

// try launches.
func (r *rig) try(id string) (pool.Machine, error) {
	r.Helper()
	f, err := r.cloud.Prepare(r.Context(), spec(id))
	if err != nil {
		return pool.Machine{}, err
	}
	return r.cloud.Launch(r.Context(), id, f)
}

// launch launches an instance, which must succeed, and waits until it runs.
func (r *rig) launch(id string) pool.Machine {
	r.Helper()
	m, err := r.try(id)
	if err != nil {
		r.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	return m
}

// listed returns the machine that List shows for an instance.
func (r *rig) listed(cloudID string) pool.Machine {
	r.Helper()
	all, err := r.cloud.List(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for _, m := range all {
		if m.CloudID == cloudID {
			return m
		}
	}
	return pool.Machine{}
}

// end ends instances, none of which may fail.
func (r *rig) end(ids ...string) {
	r.Helper()
	if failed, err := r.cloud.Terminate(r.Context(), ids...); err != nil || len(failed) > 0 {
		r.Errorf("Terminate = %v, %v", failed, err)
	}
}

// want expects an error that is a certain one of package pool, and no other. nil: one of unknown outcome.
func (r *rig) want(err, sentinel error) {
	r.Helper()
	if err == nil {
		r.Error("no error")
		return
	}
	for _, s := range []error{pool.ErrCapacity, pool.ErrQuota, pool.ErrThrottled, pool.ErrAuth, pool.ErrPermanent, pool.ErrLaunchOver} {
		if is := errors.Is(err, s); is != (s == sentinel) {
			r.Errorf("%v: that it is %q is %t", err, s, is)
		}
	}
	r.noSecret("an error", err.Error())
}

func (r *rig) noSecret(where, text string) {
	r.Helper()
	for _, s := range []string{"plain-private-key", secretKey, ec2test.AccessKey} {
		if strings.Contains(text, s) {
			r.Errorf("%s holds %q: %s", where, s, text)
		}
	}
}

// alive returns how many instances the server has.
func (r *rig) alive() (n int) {
	for _, i := range r.server.Instances() {
		if i.State == ec2test.Pending || i.State == ec2test.Running {
			n++
		}
	}
	return n
}

// logBook is a log.
type logBook struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// hangingSealer waits for the context once it is told to.
type hangingSealer struct {
	seal.Sealer
	hangs chan struct{} // closed: it hangs
}

func (s *hangingSealer) Seal(ctx context.Context, plain, about []byte) ([]byte, error) {
	select {
	case <-s.hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	default:
		return s.Sealer.Seal(ctx, plain, about)
	}
}

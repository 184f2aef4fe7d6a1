package ec2test_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/berth-go/berth/internal/test/ec2test"
)

// diary is what Boot was called for.
type diary struct {
	sync.Mutex
	lines []string
}

func (d *diary) add(format string, args ...any) {
	d.Lock()
	defer d.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) want(t *testing.T, lines ...string) {
	t.Helper()
	synctest.Wait()
	d.Lock()
	defer d.Unlock()
	if !slices.Equal(d.lines, lines) {
		t.Errorf("the diary says %q, want %q", d.lines, lines)
	}
	d.lines = nil
}

func (d *diary) boot(i ec2test.Instance) func() {
	d.add("%s %s up with %q", i.PrivateIP, i.State, i.UserData)
	return func() { d.add("%s down", i.PrivateIP) }
}

func TestBoot(t *testing.T) {
	var d diary
	opts := plain
	opts.Boot = d.boot
	onBench(t, opts, func(b *bench) {
		id := b.launch(func(in *ec2.RunInstancesInput) { in.UserData = ptr("aGVsbG8=") })
		time.Sleep(5*time.Second - 1)
		d.want(t)
		time.Sleep(time.Nanosecond)
		d.want(t, `10.0.0.4 running up with "hello"`)
		b.want(b.terminate(id), "")
		d.want(t, "10.0.0.4 down")

		id = b.launch() // ends before it runs
		b.want(b.terminate(id), "")
		b.server.EndAtBoot(1, "Client.InternalError")
		b.launch()
		time.Sleep(time.Minute)
		d.want(t)

		id = b.launch(spot)
		time.Sleep(5 * time.Second)
		d.want(t, `10.0.0.7 running up with ""`)
		b.server.InterruptSpot(id)
		time.Sleep(2*time.Minute - 1)
		d.want(t)
		time.Sleep(time.Nanosecond)
		d.want(t, "10.0.0.7 down")

		id = b.launch()
		time.Sleep(5 * time.Second)
		d.want(t, `10.0.0.8 running up with ""`)
		b.server.Stop(id)
		d.want(t, "10.0.0.8 down")

		b.launch()
		time.Sleep(5 * time.Second)
		d.want(t, `10.0.0.9 running up with ""`)
		b.server.Close()
		d.want(t, "10.0.0.9 down")
	})
}

// TestOnTheNetwork uses the server as a program does that knows nothing of it but AWS' environment variables.
func TestOnTheNetwork(t *testing.T) {
	up := make(chan string)
	server := ec2test.New(ec2test.Options{Pending: -1, Ending: -1, LaunchLag: -1, TagLag: -1, EndLag: -1, Boot: func(i ec2test.Instance) func() {
		l, err := net.Listen("tcp", net.JoinHostPort(i.PrivateIP, "0"))
		if err != nil {
			t.Error(err)
			close(up)
			return nil
		}
		up <- l.Addr().String()
		return func() { _ = l.Close() }
	}})
	defer server.Close()
	url, err := server.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", "")
	t.Setenv("AWS_CONFIG_FILE", "none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
	t.Setenv("AWS_ENDPOINT_URL", url)
	t.Setenv("AWS_REGION", "us-east-1")
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(ec2test.AccessKey, "secret", "")),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, server: server, ec2: ec2.NewFromConfig(cfg)}
	local := server.AddSubnet("us-east-1a", "127.64.0.0/24")
	server.LoseAnswers(run, 1)
	if _, err := b.try(in(local), token("t")); err == nil || !contains(err, "connection reset by peer") {
		t.Errorf("a lost answer: %v", err)
	}
	id := b.launch(in(local), token("t"))
	address, ok := <-up
	if !ok {
		t.FailNow()
	}
	if host, _, _ := net.SplitHostPort(address); host != *b.described(id).PrivateIpAddress {
		t.Errorf("listens at %s, is shown at %s", address, *b.described(id).PrivateIpAddress)
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	calls := server.Calls(list)
	server.Hang(list, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // no wait by the clock: once the call is there
		for server.Calls(list) == calls {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := b.ec2.DescribeInstances(ctx, nil); err == nil {
		t.Error("a call that hangs came back")
	}
	b.want(b.terminate(id), "")
	server.Close()
	if c, err := net.Dial("tcp", address); err == nil {
		_ = c.Close()
		t.Error("what Boot started is still there after Close")
	}
}

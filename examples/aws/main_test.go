package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/ec2test"
)

// onAWS makes the program use a server of the test as AWS.
func onAWS(t *testing.T) (server *ec2test.Server, group string) {
	t.Helper()
	server = ec2test.New(ec2test.Options{
		Latency: 5 * time.Millisecond, Pending: 50 * time.Millisecond, Ending: 50 * time.Millisecond, LaunchLag: -1, TagLag: -1, EndLag: -1,
	})
	t.Cleanup(server.Close)
	url, err := server.Listen()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": ec2test.AccessKey, "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	return server, server.AddSecurityGroup("berth", ec2test.Rule{Port: 2376, Source: "10.0.0.0/8"})
}

func TestDryRun(t *testing.T) {
	server, group := onAWS(t)
	var out bytes.Buffer
	err := run(t.Context(), []string{"-dry-run", "-security-groups", group, "-type", "m7i.large,t3.large", "-spot", "first"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"us-east-1", "spot m7i.large", "on-demand t3.large", group, "aws-example", "Nothing was launched"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
	out.Reset()
	err = run(t.Context(), []string{"-dry-run", "-subnets", "subnet-0123456789abcdef0", "-security-groups", group}, &out)
	if err == nil || !strings.Contains(err.Error(), "subnet-0123456789abcdef0 exists in") {
		t.Errorf("with a subnet that is not there: %v", err)
	}
	if n := len(server.Instances()); n != 0 {
		t.Errorf("it launched %d instances", n)
	}
}

// TestDryRunFindsAll: one run lists everything that is wrong, by the names of the flags, and does not say that all is well.
func TestDryRunFindsAll(t *testing.T) {
	server, group := onAWS(t)
	server.Deny("ec2:RunInstances")
	args := strings.Fields("-dry-run -name -bad/name- -max -1 -min 3 -spot always -type t9.large,t3.large -subnets " +
		server.Subnet("us-east-1a") + ",subnet-0123456789abcdef0 -security-groups sg-0123456789abcdef0," + group)
	var out bytes.Buffer
	err := run(t.Context(), args, &out)
	if err == nil || strings.Contains(out.String(), "Nothing is in the way") {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"-name:", "-max:", "-min: must be from 0 to -max", `-spot: "always" is not one of`, "correct -type", "correct -subnets",
		"correct -security-groups", "ec2:RunInstances is not allowed",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(err.Error(), "Config.") || strings.Contains(err.Error(), "Options.") || strings.Count(err.Error(), "-name:") != 1 || t.Failed() {
		t.Errorf("it says %v", err)
	}
}

// TestOneThingIsWrong: each single fault is refused, with and without -dry-run.
func TestOneThingIsWrong(t *testing.T) {
	_, group := onAWS(t)
	for args, want := range map[string]string{
		"-name bad/name": "-name", "-name x.": "-name", "-max -1": "-max", "-min 2 -max 1": "-min", "-min -1": "-min", "-spot never": "-spot",
		"-max 0": "-max", "-name=": "-name",
		"-type t9.large": "-type", "-subnets subnet-0123456789abcdef0": "-subnets", "-image ami-0123456789abcdef0": "-image", "-image /no/such": "-image",
	} {
		for _, how := range []string{"-dry-run", "-repo https://example.com/acme/shop"} {
			all := strings.Fields(how + " -security-groups " + group + " " + args)
			if err := run(t.Context(), all, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Config.") {
				t.Errorf("%q: %v, want %s", all, err, want)
			}
		}
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"":                           "no -repo",
		"-repo https://u:hunter2@/x": "remote",
		"-spot":                      "needs an argument",
	} {
		err := run(t.Context(), strings.Fields(args), new(bytes.Buffer))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestInterrupt interrupts the program while its instance boots.
func TestInterrupt(t *testing.T) {
	server, group := onAWS(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &cue{on: "booting", do: cancel}
	// A dial to an address of this block fails at once.
	subnet := server.AddSubnet("us-east-1a", "127.64.0.0/24")
	err := run(ctx, []string{
		"-name", "interrupted", "-subnets", subnet, "-security-groups", group, "-repo", "https://example.com/acme/shop",
	}, out)
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("it ends with %v", err)
	}
	if !strings.Contains(out.b.String(), "0 instances of this run are left") {
		t.Errorf("it says\n%s", &out.b)
	}
	all := server.Instances()
	for _, i := range all {
		if i.State == ec2test.Pending || i.State == ec2test.Running {
			t.Errorf("%s is %s", i.ID, i.State)
		}
	}
	if len(all) == 0 {
		t.Error("nothing was launched: nothing was tested")
	}
}

// TestMain runs the program itself if TestSecondInterrupt has started the test binary.
func TestMain(m *testing.M) {
	if os.Getenv("BERTH_EXAMPLE_AWS") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestSecondInterrupt interrupts the program twice while its instance cannot be ended.
func TestSecondInterrupt(t *testing.T) {
	server, group := onAWS(t)
	server.Deny("ec2:TerminateInstances")
	subnet := server.AddSubnet("us-east-1a", "127.64.0.0/24")
	cmd := exec.CommandContext(t.Context(), os.Args[0],
		"-name", "p7", "-subnets", subnet, "-security-groups", group, "-repo", "https://example.com/acme/shop")
	cmd.Env = append(os.Environ(), "BERTH_EXAMPLE_AWS=1")
	interrupt := func() { _ = cmd.Process.Signal(os.Interrupt) } // if it has ended already, the test fails below
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.Stdout = &cue{on: "booting", do: interrupt, then: &cue{on: "ending the pool", do: interrupt}}
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("it ends with %v", err)
	}
	for _, want := range []string{"Interrupt again", "berth:pool = p7", "--region us-east-1 --filters Name=tag:berth:pool,Values=p7"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &said)
		}
	}
}

// TestRunAfterOneThatWasKilled: a run lists the instances that a killed run has left, and leaves them alone.
func TestRunAfterOneThatWasKilled(t *testing.T) {
	server, group := onAWS(t)
	args := []string{
		"-name", "p8", "-subnets", server.AddSubnet("us-east-1a", "127.64.0.0/24"), "-security-groups", group,
		"-repo", "https://example.com/acme/shop",
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "BERTH_EXAMPLE_AWS=1")
	cmd.Stdout = &cue{on: "booting", do: func() { _ = cmd.Process.Kill() }}
	if err := cmd.Run(); err == nil || len(server.Instances()) != 1 {
		t.Fatalf("it was to be killed as its instance boots: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &cue{on: "booting", do: cancel}
	if err := run(ctx, args, out); err == nil || err.Error() != "interrupted" {
		t.Errorf("it ends with %v", err)
	}
	for _, want := range []string{"1 instances of another run", "Values=p8", "0 instances of this run are left"} {
		if !strings.Contains(out.b.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out.b)
		}
	}
	all := server.Instances()
	if len(all) != 2 || all[0].State != ec2test.Running || all[1].State == ec2test.Running {
		t.Errorf("there are %+v", all)
	}
}

// TestInterruptBeforeAnything interrupts the program while it makes its checks.
func TestInterruptBeforeAnything(t *testing.T) {
	server, group := onAWS(t)
	server.Hang("ec2:DescribeSubnets", 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for server.Calls("ec2:DescribeSubnets") == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	err := run(ctx, []string{"-security-groups", group, "-repo", "https://example.com/acme/shop"}, new(bytes.Buffer))
	if err == nil || err.Error() != "interrupted: nothing was launched" || len(server.Instances()) != 0 {
		t.Errorf("it ends with %v", err)
	}
}

// cue is a Writer that calls a function once when a certain text is written, and then waits for the next text.
type cue struct {
	on   string
	do   func()
	then *cue

	mu sync.Mutex // protects the fields below
	b  bytes.Buffer
}

func (c *cue) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b.Write(p)
	if c.do != nil && bytes.Contains(p, []byte(c.on)) {
		c.do()
		c.do = nil
		if c.then != nil {
			c.on, c.do = c.then.on, c.then.do
		}
	}
	return len(p), nil
}

package berth_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/ec2world"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/store"
)

func TestEC2ConfigFaultsAreNamed(t *testing.T) {
	_, err := berth.NewEC2SharedProvider(t.Context(), berth.Config{LaunchRate: -2})
	wantFields(t, err, "Config.Store", "Config.LaunchRate")
	_, err = berth.NewEC2SharedProvider(t.Context(), berth.Config{Store: ec2world.NewSpyStore()})
	wantFields(t, err, "Config.Sealer")
}

// wantFields fails the test unless an error names exactly these fields.
func wantFields(t *testing.T, err error, fields ...string) {
	t.Helper()
	named := regexp.MustCompile(`invalid (Config\.[\w.]+):`).FindAllStringSubmatch(fmt.Sprint(err), -1)
	ok := errors.Is(err, berth.ErrInvalid) && len(named) == len(fields)
	for i, field := range fields {
		ok = ok && named[i][1] == field
	}
	if !ok {
		t.Errorf("want faults of %q: %v", fields, err)
	}
}

func TestEC2ProblemsAreListedAtOnce(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Config.EC2.Subnets = []string{"subnet-0123456789abcdef0", a.Server.Subnet("us-east-1a")}
		a.Config.EC2.ImageID = "ami-0123456789abcdef0"
		a.Server.Deny("ec2:DescribeInstanceStatus")
		_, err := berth.NewEC2SharedProvider(a.Context(), a.Config)
		var all *ec2cloud.PreflightError
		if !errors.As(err, &all) || len(all.Problems) != 3 {
			a.Fatalf("want three problems: %v", err)
		}
		for _, want := range []string{"subnet-0123456789abcdef0", "ami-0123456789abcdef0", "ec2:DescribeInstanceStatus"} {
			if !strings.Contains(err.Error(), want) {
				a.Errorf("it does not say %s: %v", want, err)
			}
		}
		if n := len(a.Server.Instances()); n != 0 {
			a.Errorf("%d instances", n)
		}
	})
}

// TestEC2BootFaultsAreToldAtOnce: the constructor reports faults that would make every launch fail.
func TestEC2BootFaultsAreToldAtOnce(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Config.EC2.BootScript = noRoom()
		_, err := berth.NewEC2SharedProvider(a.Context(), a.Config)
		if err == nil || !strings.Contains(err.Error(), "EC2 takes 16384") {
			a.Errorf("a script that is too long: %v", err)
		}
		a.Config.EC2.BootScript, a.Config.EC2.Daemon = "", map[string]any{"tlsverify": false}
		_, err = berth.NewEC2SharedProvider(a.Context(), a.Config)
		if err == nil || !strings.Contains(err.Error(), "tlsverify") {
			a.Errorf("a reserved setting: %v", err)
		}
	})
}

func TestEC2UserData(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Config.MinInstances, a.Config.MaxInstances = 2, 2
		a.NewProvider(a.Config)
		time.Sleep(time.Minute)
		all := a.Alive(2)
		if bytes.Equal(a.BootPEM(all[0]).Key, a.BootPEM(all[1]).Key) {
			a.Error("two launches have one key")
		}
		for _, i := range all {
			wantUserData(a, i)
		}
	})
}

// wantUserData checks the user data of an instance as AWS received it.
func wantUserData(a *ec2world.Account, i ec2test.Instance) {
	a.Helper()
	if !bytes.HasPrefix(i.UserData, []byte("#!/")) || len(i.UserData) >= hostboot.MaxUserData {
		a.Errorf("the user data has %d bytes, and begins with %.10q", len(i.UserData), i.UserData)
	}
	if n := bytes.Count(i.UserData, []byte("PRIVATE KEY-----\n")); n != 2 { // the begin and the end of one
		a.Errorf("%d lines of private keys", n)
	}
	got, launch := a.BootPEM(i), i.Tags["berth:launch"]
	if _, err := tls.X509KeyPair(got.Server, got.Key); err != nil {
		a.Errorf("the key is not that of the certificate: %v", err)
	}
	if !bytes.Equal(got.CA, a.Pool().ClientCA) {
		a.Error("the authority of the clients is not that of the pool's record")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(a.Instance(launch).Trust))
	block, _ := pem.Decode(got.Server)
	server, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		a.Fatal(err)
	}
	if _, err := server.Verify(x509.VerifyOptions{DNSName: hostboot.ServerName(launch), Roots: roots}); err != nil {
		a.Errorf("the engine of %s would not be trusted: %v", launch, err)
	}
}

// TestEC2StoreHoldsNoKey looks at every record that is written, also while a launch is under way.
func TestEC2StoreHoldsNoKey(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Config.MinInstances = 1
		p := a.NewProvider(a.Config)
		time.Sleep(time.Minute)
		launched := a.Alive(1)[0]
		if err := p.Destroy(a.Context()); err != nil {
			a.Fatal(err)
		}
		pool := a.Pool()
		clientKey, err := a.Config.Sealer.Open(a.Context(), pool.ClientKey, []byte("client authority of pool "+a.Config.Name))
		if err != nil {
			a.Fatal(err)
		}
		secrets := map[string][]byte{
			"any private key": []byte("PRIVATE KEY"), "the engine's key": a.BootPEM(launched).Key, "the clients' key": clientKey,
		}
		written := a.Store.Texts()
		for what, secret := range secrets {
			if what != "the clients' key" && !ec2world.ShowsSecret(base64.StdEncoding.EncodeToString(launched.UserData), secret) {
				a.Fatalf("ShowsSecret does not find %s in itself", what)
			}
			for _, text := range append(written, a.Log.String()) {
				if ec2world.ShowsSecret(text, secret) {
					a.Errorf("%s is in %.200q", what, text)
				}
			}
		}
		if !slices.ContainsFunc(written, func(text string) bool { return strings.Contains(text, `"UserData"`) }) {
			a.Error("no launch request was stored, so the test checked nothing")
		}
	})
}

// TestEC2InstanceThatDoesNotBoot: nothing answers at the address of an instance, so the pool ends it and launches
// another one.
func TestEC2InstanceThatDoesNotBoot(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Config.MinInstances, a.Config.BootTimeout = 1, 3*time.Minute
		p := a.NewProvider(a.Config)
		time.Sleep(a.Config.BootTimeout - time.Second)
		first := a.Alive(1)[0]
		a.Server.WriteConsole(first.ID, "cloud-init: cannot fetch packages\n")
		time.Sleep(time.Minute)
		if now := a.Server.Instance(first.ID); now.State != ec2test.Terminated {
			a.Errorf("after its time to boot it is %s", now.State)
		}
		if !strings.Contains(a.Log.String(), "cannot fetch packages") {
			a.Errorf("the log does not say why:\n%s", a.Log)
		}
		time.Sleep(2 * time.Minute)
		if next := a.Alive(1)[0]; next.ID == first.ID {
			a.Error("no other was launched")
		}
		if err := p.Destroy(a.Context()); err != nil {
			a.Fatal(err)
		}
		a.Alive(0)
		time.Sleep(time.Minute)
		if left := a.Server.Leftovers(); len(left) > 0 {
			a.Errorf("left: %q", left)
		}
	})
}

func TestEC2ProvidersOfOneStore(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Config.MinInstances, a.Config.MaxInstances = 1, 2
		first := a.NewProvider(a.Config)
		time.Sleep(time.Minute)
		a.Alive(1)
		if err := first.Close(); err != nil {
			a.Fatal(err)
		}
		other := a.Config
		other.MinInstances = 2
		a.NewProvider(other)
		time.Sleep(time.Minute)
		both := a.Alive(2)
		if !bytes.Equal(a.BootPEM(both[0]).CA, a.BootPEM(both[1]).CA) {
			a.Error("two Providers have two authorities for their clients")
		}

		other.Sealer = ec2world.Sealer(a.T, 8)
		_, err := berth.NewEC2SharedProvider(a.Context(), other)
		if !errors.Is(err, seal.ErrUnsealable) || !strings.Contains(err.Error(), "another key than those of Config.Sealer") {
			a.Errorf("with another key: %v", err)
		}
		a.Alive(2)
	})
}

// TestEC2KeyIsRotated starts several processes in turn. Each seals with a new key; the last one no longer has the first
// key.
func TestEC2KeyIsRotated(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Config.MinInstances = 1
		a.NewProvider(a.Config).Close()
		authority := func() (ca []byte) {
			err := a.Store.View(a.Context(), func(v store.View) error {
				record, err := store.Get[*store.Pool](v, store.PoolKey())
				ca = record.ClientCA
				return err
			})
			if err != nil {
				a.Fatal(err)
			}
			return ca
		}
		first := authority()
		for key := byte(8); key < 11; key++ {
			a.Config.Sealer = ec2world.Sealer(a.T, key, key-1)
			a.NewProvider(a.Config).Close()
		}
		a.Config.Sealer = ec2world.Sealer(a.T, 10)
		a.NewProvider(a.Config)
		if !bytes.Equal(first, authority()) {
			a.Error("the authority of the clients is another one")
		}
	})
}

// TestReadmeShowsTheEC2Example keeps the README's Config equal to one that is compiled.
func TestReadmeShowsTheEC2Example(t *testing.T) {
	_, code, _ := strings.Cut(string(read(t, "example_config_test.go")), "func ExampleNewEC2SharedProvider() {")
	_, code, _ = strings.Cut(code, "\tp, err := ")
	code, _, _ = strings.Cut("\tp, err := "+code, "\tif err")
	if !strings.Contains(string(read(t, "README.md")), "```go\n"+strings.ReplaceAll(strings.TrimPrefix(code, "\t"), "\n\t", "\n")) {
		t.Error("README.md does not show the Config of ExampleNewEC2SharedProvider")
	}
}

// TestEC2ContainersAvoidTheVPC: the Config need not list the VPC's own blocks. When they change, a launch that is under
// way keeps the user data of its stored request.
func TestEC2ContainersAvoidTheVPC(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Server.AddVPCBlock("172.17.0.0/16", true)
		a.Config.MinInstances, a.Config.EC2.AvoidCIDRs = 1, []netip.Prefix{netip.MustParsePrefix("172.19.4.0/24")}
		first := a.NewProvider(a.Config)
		a.Server.LoseRequests("ec2:RunInstances", 2)
		time.Sleep(time.Second)
		if err := first.Close(); err != nil {
			a.Fatal(err)
		}
		a.Alive(0)
		a.Server.AddVPCBlock("172.18.0.0/16", true)
		a.Config.MinInstances, a.Config.MaxInstances = 2, 2
		a.NewProvider(a.Config)
		time.Sleep(time.Minute)
		a.Alive(2)
		var bases []string
		sent := make(map[string][]byte) // by launch ID
		for _, q := range a.Server.Requests("ec2:RunInstances") {
			token := q.Form.Get("ClientToken")
			if q.Form.Get("DryRun") == "true" {
				continue
			}
			if was := sent[token]; was != nil && !bytes.Equal(was, q.UserData) {
				a.Errorf("launch %s was repeated with other user data", token)
			}
			sent[token] = q.UserData
		}
		for _, data := range sent {
			bases = append(bases, fmt.Sprintf("%s", regexp.MustCompile(`"base": "172.*?"`).FindAll(data, -1)))
		}
		slices.Sort(bases)
		if len(bases) != 2 || bases[0] != `["base": "172.18.0.0/16" "base": "172.20.0.0/16"]` || bases[1] != `["base": "172.20.0.0/16" "base": "172.21.0.0/16"]` {
			a.Errorf("%q", bases)
		}
	})
}

// TestEC2NextProcessTakesThePinnedImage: an image that is released between two processes of a pool replaces no
// instance.
func TestEC2NextProcessTakesThePinnedImage(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		a.Config.MinInstances, a.Config.MaxInstances = 1, 2
		first := a.NewProvider(a.Config)
		time.Sleep(time.Minute)
		if err := first.Close(); err != nil {
			a.Fatal(err)
		}
		a.Server.ReleaseImage(ec2test.ECSAmd64)
		a.Config.MinInstances = 2
		a.NewProvider(a.Config)
		time.Sleep(time.Minute)
		both := a.Alive(2)
		one, other := a.Instance(both[0].Tags["berth:launch"]), a.Instance(both[1].Tags["berth:launch"])
		if one.Generation == "" || one.Generation != other.Generation {
			a.Errorf("the generations are %q and %q", one.Generation, other.Generation)
		}
		images := make(map[string]bool)
		for _, q := range a.Server.Requests("ec2:RunInstances") {
			if q.Form.Get("DryRun") != "true" {
				images[q.Form.Get("ImageId")] = true
			}
		}
		if len(images) != 1 {
			a.Errorf("launched from %v", images)
		}
	})
}

// TestCheckEC2FindsAll: one error lists the faults of the Config and those that AWS finds, by the names of the fields.
// Nothing is launched or stored.
func TestCheckEC2FindsAll(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		if plan, err := berth.CheckEC2(a.Context(), a.Config); err != nil || len(plan.Ways) == 0 {
			a.Errorf("a Config without faults: %+v, %v", plan, err)
		}
		wrong := a.Config
		wrong.Name, wrong.MaxInstances, wrong.MinInstances, wrong.Sealer = "no name", -1, 2, nil
		wrong.EC2.Subnets, wrong.EC2.Types = []string{"subnet-0123456789abcdef0"}, []string{"t9.large"}
		wrong.EC2.Tags = map[string]string{"berth:pool": "another"}
		_, err := berth.CheckEC2(a.Context(), wrong)
		if _, ok := errors.AsType[*ec2cloud.PreflightError](err); !ok || !errors.Is(err, berth.ErrInvalid) {
			a.Errorf("want faults of both kinds: %v", err)
		}
		for _, want := range []string{
			"Config.Name", "Config.MaxInstances", "Config.MinInstances", "Config.Sealer", "Config.EC2.Tags", "correct Config.EC2.Subnets", "correct Config.EC2.Types",
		} {
			if n := strings.Count(fmt.Sprint(err), want); n != 1 {
				a.Errorf("the error contains %q %d times: %v", want, n, err)
			}
		}
		a.Alive(0)
		if texts := a.Store.Texts(); len(texts) > 0 {
			a.Errorf("the store holds %q", texts)
		}
	})
}

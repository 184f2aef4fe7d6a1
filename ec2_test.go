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
	"github.com/berth-go/berth/internal/ec2test"
	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/store"
)

func TestEC2ConfigFaultsAreNamed(t *testing.T) {
	_, err := berth.NewEC2SharedProvider(t.Context(), berth.Config{LaunchRate: -2})
	wantFields(t, err, "Config.Store", "Config.LaunchRate")
	_, err = berth.NewEC2SharedProvider(t.Context(), berth.Config{Store: newSpyStore()})
	wantFields(t, err, "Config.Sealer")
}

// wantFields expects an error about these fields and no others.
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
	onEC2(t, func(a *account) {
		a.cfg.EC2.Subnets = []string{"subnet-0123456789abcdef0", a.server.Subnet("us-east-1a")}
		a.cfg.EC2.ImageID = "ami-0123456789abcdef0"
		a.server.Deny("ec2:DescribeInstanceStatus")
		_, err := berth.NewEC2SharedProvider(a.Context(), a.cfg)
		var all *ec2cloud.PreflightError
		if !errors.As(err, &all) || len(all.Problems) != 3 {
			a.Fatalf("want three problems: %v", err)
		}
		for _, want := range []string{"subnet-0123456789abcdef0", "ami-0123456789abcdef0", "ec2:DescribeInstanceStatus"} {
			if !strings.Contains(err.Error(), want) {
				a.Errorf("it does not say %s: %v", want, err)
			}
		}
		if n := len(a.server.Instances()); n != 0 {
			a.Errorf("%d instances", n)
		}
	})
}

// TestEC2BootFaultsAreToldAtOnce: they would fail every launch.
func TestEC2BootFaultsAreToldAtOnce(t *testing.T) {
	onEC2(t, func(a *account) {
		a.cfg.EC2.BootScript = strings.Repeat("# no room\n", 2000)
		_, err := berth.NewEC2SharedProvider(a.Context(), a.cfg)
		if err == nil || !strings.Contains(err.Error(), "EC2 takes 16384") {
			a.Errorf("a script that is too long: %v", err)
		}
		a.cfg.EC2.BootScript, a.cfg.EC2.Daemon = "", map[string]any{"tlsverify": false}
		_, err = berth.NewEC2SharedProvider(a.Context(), a.cfg)
		if err == nil || !strings.Contains(err.Error(), "tlsverify") {
			a.Errorf("a setting that is not free: %v", err)
		}
	})
}

func TestEC2UserData(t *testing.T) {
	onEC2(t, func(a *account) {
		a.cfg.MinInstances, a.cfg.MaxInstances = 2, 2
		a.provider(a.cfg)
		time.Sleep(time.Minute)
		all := a.alive(2)
		if bytes.Equal(a.bootPEM(all[0]).key, a.bootPEM(all[1]).key) {
			a.Error("two launches have one key")
		}
		for _, i := range all {
			a.wantUserData(i)
		}
	})
}

// wantUserData checks what an instance has got to boot from, as it came over the wire.
func (a *account) wantUserData(i ec2test.Instance) {
	a.Helper()
	if !bytes.HasPrefix(i.UserData, []byte("#!/")) || len(i.UserData) >= hostboot.MaxUserData {
		a.Errorf("the user data has %d bytes, and begins with %.10q", len(i.UserData), i.UserData)
	}
	if n := bytes.Count(i.UserData, []byte("PRIVATE KEY-----\n")); n != 2 { // the begin and the end of one
		a.Errorf("%d lines of private keys", n)
	}
	got, launch := a.bootPEM(i), i.Tags["berth:launch"]
	if _, err := tls.X509KeyPair(got.server, got.key); err != nil {
		a.Errorf("the key is not that of the certificate: %v", err)
	}
	if !bytes.Equal(got.ca, a.pool().ClientCA) {
		a.Error("the authority of the clients is not that of the pool's record")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(a.instance(launch).Trust))
	block, _ := pem.Decode(got.server)
	server, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		a.Fatal(err)
	}
	if _, err := server.Verify(x509.VerifyOptions{DNSName: hostboot.ServerName(launch), Roots: roots}); err != nil {
		a.Errorf("the engine of %s would not be trusted: %v", launch, err)
	}
}

// TestEC2StoreHoldsNoKey looks at all that is ever written, while a launch is under way, too.
func TestEC2StoreHoldsNoKey(t *testing.T) {
	onEC2(t, func(a *account) {
		a.cfg.MinInstances = 1
		p := a.provider(a.cfg)
		time.Sleep(time.Minute)
		launched := a.alive(1)[0]
		if err := p.Destroy(a.Context()); err != nil {
			a.Fatal(err)
		}
		pool := a.pool()
		clientKey, err := a.cfg.Sealer.Open(a.Context(), pool.ClientKey, []byte("client authority of pool "+a.cfg.Name))
		if err != nil {
			a.Fatal(err)
		}
		secrets := map[string][]byte{
			"any private key": []byte("PRIVATE KEY"), "the engine's key": a.bootPEM(launched).key, "the clients' key": clientKey,
		}
		written := a.store.texts()
		for what, secret := range secrets {
			if what != "the clients' key" && !showsSecret(base64.StdEncoding.EncodeToString(launched.UserData), secret) {
				a.Fatalf("the search would not find %s", what)
			}
			for _, text := range append(written, a.log.String()) {
				if showsSecret(text, secret) {
					a.Errorf("%s is in %.200q", what, text)
				}
			}
		}
		if !slices.ContainsFunc(written, func(text string) bool { return strings.Contains(text, `"UserData"`) }) {
			a.Error("no request of a launch was written: nothing was looked at")
		}
	})
}

// TestEC2InstanceThatDoesNotBoot: nothing answers at the address of an instance, so it is ended and another is launched.
func TestEC2InstanceThatDoesNotBoot(t *testing.T) {
	onEC2(t, func(a *account) {
		a.cfg.MinInstances, a.cfg.BootTimeout = 1, 3*time.Minute
		p := a.provider(a.cfg)
		time.Sleep(a.cfg.BootTimeout - time.Second)
		first := a.alive(1)[0]
		a.server.WriteConsole(first.ID, "cloud-init: cannot fetch packages\n")
		time.Sleep(time.Minute)
		if now := a.server.Instance(first.ID); now.State != ec2test.Terminated {
			a.Errorf("after its time to boot it is %s", now.State)
		}
		if !strings.Contains(a.log.String(), "cannot fetch packages") {
			a.Errorf("the log does not say why:\n%s", a.log)
		}
		time.Sleep(2 * time.Minute)
		if next := a.alive(1)[0]; next.ID == first.ID {
			a.Error("no other was launched")
		}
		if err := p.Destroy(a.Context()); err != nil {
			a.Fatal(err)
		}
		a.alive(0)
		time.Sleep(time.Minute)
		if left := a.server.Leftovers(); len(left) > 0 {
			a.Errorf("left: %q", left)
		}
	})
}

func TestEC2ProvidersOfOneStore(t *testing.T) {
	onEC2(t, func(a *account) {
		a.cfg.MinInstances, a.cfg.MaxInstances = 1, 2
		first := a.provider(a.cfg)
		time.Sleep(time.Minute)
		a.alive(1)
		if err := first.Close(); err != nil {
			a.Fatal(err)
		}
		other := a.cfg
		other.MinInstances = 2
		a.provider(other)
		time.Sleep(time.Minute)
		both := a.alive(2)
		if !bytes.Equal(a.bootPEM(both[0]).ca, a.bootPEM(both[1]).ca) {
			a.Error("two Providers have two authorities for their clients")
		}

		other.Sealer = sealer(a.T, 8)
		_, err := berth.NewEC2SharedProvider(a.Context(), other)
		if !errors.Is(err, seal.ErrUnsealable) || !strings.Contains(err.Error(), "another key than those of Config.Sealer") {
			a.Errorf("with another key: %v", err)
		}
		a.alive(2)
	})
}

// TestEC2KeyIsRotated starts process after process, each with the next key in front, and the first one's no more.
func TestEC2KeyIsRotated(t *testing.T) {
	onEC2(t, func(a *account) {
		a.cfg.MinInstances = 1
		a.provider(a.cfg).Close()
		authority := func() (ca []byte) {
			err := a.store.View(a.Context(), func(v store.View) error {
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
			a.cfg.Sealer = sealer(a.T, key, key-1)
			a.provider(a.cfg).Close()
		}
		a.cfg.Sealer = sealer(a.T, 10)
		a.provider(a.cfg)
		if !bytes.Equal(first, authority()) {
			a.Error("the authority of the clients is another one")
		}
	})
}

// TestReadmeShowsTheEC2Example keeps the README's Config equal to one that is compiled.
func TestReadmeShowsTheEC2Example(t *testing.T) {
	_, code, _ := strings.Cut(string(read(t, "example_ec2_test.go")), "\tp, err := ")
	code, _, _ = strings.Cut("\tp, err := "+code, "\tif err")
	if !strings.Contains(string(read(t, "README.md")), "```go\n"+strings.ReplaceAll(strings.TrimPrefix(code, "\t"), "\n\t", "\n")+"```\n") {
		t.Error("README.md does not show what example_ec2_test.go has")
	}
}

// TestEC2ContainersAvoidTheVPC: nobody has to tell what the VPC's own blocks are. A launch that is under way keeps the
// user data that it was frozen with, when they change.
func TestEC2ContainersAvoidTheVPC(t *testing.T) {
	onEC2(t, func(a *account) {
		a.server.AddVPCBlock("172.17.0.0/16", true)
		a.cfg.MinInstances, a.cfg.EC2.AvoidCIDRs = 1, []netip.Prefix{netip.MustParsePrefix("172.19.4.0/24")}
		first := a.provider(a.cfg)
		a.server.LoseRequests("ec2:RunInstances", 2)
		time.Sleep(time.Second)
		if err := first.Close(); err != nil {
			a.Fatal(err)
		}
		a.alive(0)
		a.server.AddVPCBlock("172.18.0.0/16", true)
		a.cfg.MinInstances, a.cfg.MaxInstances = 2, 2
		a.provider(a.cfg)
		time.Sleep(time.Minute)
		a.alive(2)
		var bases []string
		sent := make(map[string][]byte) // by launch ID
		for _, q := range a.server.Requests("ec2:RunInstances") {
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

// TestEC2NextProcessTakesThePinnedImage: an image that is released between two processes of a pool rolls nothing.
func TestEC2NextProcessTakesThePinnedImage(t *testing.T) {
	onEC2(t, func(a *account) {
		a.cfg.MinInstances, a.cfg.MaxInstances = 1, 2
		first := a.provider(a.cfg)
		time.Sleep(time.Minute)
		if err := first.Close(); err != nil {
			a.Fatal(err)
		}
		a.server.ReleaseImage(ec2test.ECSAmd64)
		a.cfg.MinInstances = 2
		a.provider(a.cfg)
		time.Sleep(time.Minute)
		both := a.alive(2)
		one, other := a.instance(both[0].Tags["berth:launch"]), a.instance(both[1].Tags["berth:launch"])
		if one.Generation == "" || one.Generation != other.Generation {
			a.Errorf("the generations are %q and %q", one.Generation, other.Generation)
		}
		images := make(map[string]bool)
		for _, q := range a.server.Requests("ec2:RunInstances") {
			if q.Form.Get("DryRun") != "true" {
				images[q.Form.Get("ImageId")] = true
			}
		}
		if len(images) != 1 {
			a.Errorf("launched from %v", images)
		}
	})
}

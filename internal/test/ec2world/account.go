// Package ec2world is a kit for tests of berth on EC2: an account of AWS that internal/test/ec2test plays, in virtual time,
// and processes that can be killed at any of their calls. No program links it.
package ec2world

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/store"
)

// Account is an account of AWS, and a Config for it. No engine answers on its instances, unless the test calls
// WithEngines.
type Account struct {
	*testing.T
	Server *ec2test.Server
	Store  *SpyStore
	Log    *world.Log
	Config berth.Config

	engine    *fake.Engine
	start     StartFunc
	processes map[string]*Process
}

// Run runs a test in virtual time.
func Run(t *testing.T, test func(a *Account)) {
	t.Helper()
	RunWith(t, ec2test.Options{}, test)
}

// RunWith is Run with options of the server that plays AWS.
func RunWith(t *testing.T, opts ec2test.Options, test func(a *Account)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := ec2test.New(opts)
		t.Cleanup(s.Close)
		a := &Account{T: t, Server: s, Store: NewSpyStore(), Log: &world.Log{}}
		a.Config = berth.Config{
			Name: "p1", Store: a.Store, Sealer: Sealer(t, 7),
			Logger: slog.New(slog.NewTextHandler(a.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Dialer: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
			},
			EC2: berth.EC2Config{
				SecurityGroups: []string{s.AddSecurityGroup("berth", ec2test.Rule{Port: 2376, Source: "10.0.0.0/8"})},
				AWS: &aws.Config{
					Region: "us-east-1", HTTPClient: s.Client(), BaseEndpoint: aws.String(s.URL()),
					Credentials: credentials.NewStaticCredentialsProvider(ec2test.AccessKey, "secret", ""),
				},
			},
		}
		test(a)
	})
}

// Sealer returns a Sealer that seals with a key, and opens with that key and old ones.
func Sealer(t testing.TB, key byte, old ...byte) seal.Sealer {
	t.Helper()
	var before [][]byte
	for _, k := range old {
		before = append(before, bytes.Repeat([]byte{k}, seal.KeySize))
	}
	s, err := seal.AES(bytes.Repeat([]byte{key}, seal.KeySize), before...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// NewProvider makes a Provider. It is closed when the test ends.
func (a *Account) NewProvider(cfg berth.Config) *berth.Provider {
	a.Helper()
	p, err := berth.NewEC2SharedProvider(a.Context(), cfg)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { p.Close() })
	return p
}

// Alive returns the instances that are pending or running. There must be n.
func (a *Account) Alive(n int) (all []ec2test.Instance) {
	a.Helper()
	for _, i := range a.Server.Instances() {
		if i.State == ec2test.Pending || i.State == ec2test.Running {
			all = append(all, i)
		}
	}
	if len(all) != n {
		a.Fatalf("there are %d instances, not %d:\n%s", len(all), n, a.Log)
	}
	return all
}

// Costing returns the instances that cost money.
func (a *Account) Costing() (all []ec2test.Instance) {
	for _, i := range a.Server.Instances() {
		if i.State != ec2test.Terminated && i.State != ec2test.ShuttingDown {
			all = append(all, i)
		}
	}
	return all
}

// Pool returns the pool's record.
func (a *Account) Pool() *store.Pool {
	a.Helper()
	return record[*store.Pool](a, store.PoolKey())
}

// Instance returns the record of an instance.
func (a *Account) Instance(launch string) *store.Instance {
	a.Helper()
	return record[*store.Instance](a, store.InstanceKey(launch))
}

func record[R store.Record](a *Account, key store.Key) (r R) {
	a.Helper()
	err := a.Store.View(a.Context(), func(v store.View) (err error) {
		r, err = store.Get[R](v, key)
		return err
	})
	if err != nil {
		a.Fatal(err)
	}
	return r
}

// Instances returns the records of all instances.
func (a *Account) Instances() (all []*store.Instance) {
	err := a.Store.View(context.Background(), func(v store.View) (err error) {
		all, err = v.Instances(store.InstanceQuery{})
		return err
	})
	if err != nil {
		a.Error(err)
	}
	return all
}

// Ready returns how many instances take sessions.
func (a *Account) Ready() (n int) {
	for _, in := range a.Instances() {
		if in.State == store.InstanceReady {
			n++
		}
	}
	return n
}

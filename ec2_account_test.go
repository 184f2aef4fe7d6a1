package berth_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/ec2test"
	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// account is an account of AWS, and a Config for it. No engine answers on its instances.
type account struct {
	*testing.T
	server *ec2test.Server
	store  *spyStore
	log    *lockedBuffer
	cfg    berth.Config

	engine    *fake.Engine // of a test with processes
	processes map[string]*process
}

// onEC2 runs a test in virtual time.
func onEC2(t *testing.T, test func(a *account)) {
	t.Helper()
	onEC2With(t, ec2test.Options{}, test)
}

func onEC2With(t *testing.T, opts ec2test.Options, test func(a *account)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := ec2test.New(opts)
		t.Cleanup(s.Close)
		a := &account{T: t, server: s, store: newSpyStore(), log: &lockedBuffer{}}
		a.cfg = berth.Config{
			Name: "p1", Store: a.store, Sealer: sealer(t, 7),
			Logger: slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
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

// sealer returns one that seals with a key, and opens with old ones too.
func sealer(t *testing.T, key byte, old ...byte) seal.Sealer {
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

// provider makes a Provider, which is closed with the test.
func (a *account) provider(cfg berth.Config) *berth.Provider {
	a.Helper()
	p, err := berth.NewEC2SharedProvider(a.Context(), cfg)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { p.Close() })
	return p
}

// alive returns the instances that really are there. There must be n.
func (a *account) alive(n int) (all []ec2test.Instance) {
	a.Helper()
	for _, i := range a.server.Instances() {
		if i.State == ec2test.Pending || i.State == ec2test.Running {
			all = append(all, i)
		}
	}
	if len(all) != n {
		a.Fatalf("there are %d instances, not %d:\n%s", len(all), n, a.log)
	}
	return all
}

func (a *account) pool() *store.Pool { return record[*store.Pool](a, store.PoolKey()) }

func (a *account) instance(launch string) *store.Instance {
	return record[*store.Instance](a, store.InstanceKey(launch))
}

func record[R store.Record](a *account, key store.Key) (r R) {
	a.Helper()
	err := a.store.View(a.Context(), func(v store.View) (err error) {
		r, err = store.Get[R](v, key)
		return err
	})
	if err != nil {
		a.Fatal(err)
	}
	return r
}

// bootPEM is what the user data of an instance has in PEM.
type bootPEM struct{ ca, server, key []byte }

func (a *account) bootPEM(i ec2test.Instance) (found bootPEM) {
	a.Helper()
	n := 0
	for block, rest := pem.Decode(i.UserData); block != nil; block, rest = pem.Decode(rest) {
		n++
		text := pem.EncodeToMemory(block)
		if block.Type == "PRIVATE KEY" {
			found.key = text
		} else if cert, err := x509.ParseCertificate(block.Bytes); err != nil {
			a.Fatal(err)
		} else if cert.IsCA {
			found.ca = text
		} else {
			found.server = text
		}
	}
	if n != 3 || found.ca == nil || found.server == nil || found.key == nil {
		a.Fatalf("the user data of %s has %d blocks of PEM: %+v", i.ID, n, found)
	}
	return found
}

// spyStore is no store in memory for whoever looks at its type, and keeps all that was ever put into it.
type spyStore struct {
	store.Store
	mu  sync.Mutex // protects put
	put []store.Record
}

func newSpyStore() *spyStore { return &spyStore{Store: memstore.New()} }

func (s *spyStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	return s.Store.Update(ctx, keys, func(tx store.Tx) error { return fn(spyTx{tx, s}) })
}

type spyTx struct {
	store.Tx
	spy *spyStore
}

func (tx spyTx) Put(r store.Record) error {
	tx.spy.mu.Lock()
	defer tx.spy.mu.Unlock()
	tx.spy.put = append(tx.spy.put, r.Clone())
	return tx.Tx.Put(r)
}

// texts returns all that was put, and what JSON would hide in base64 as it is.
func (s *spyStore) texts() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.put {
		text, err := json.Marshal(r)
		if err != nil {
			panic(err) // records survive encoding/json
		}
		switch r := r.(type) {
		case *store.Pool:
			text = append(append(text, r.ClientCA...), r.ClientKey...)
		case *store.Instance:
			text = append(text, r.Frozen...)
		}
		all = append(all, string(text))
	}
	return all
}

// showsSecret says whether a text has a secret: as it is, or in base64. Of PEM it looks for the first line of the code,
// which is the same however the lines are joined, and for what that stands for.
func showsSecret(text string, secret []byte) bool {
	forms := [][]byte{secret}
	if block, _ := pem.Decode(secret); block != nil {
		forms = [][]byte{block.Bytes, bytes.Split(secret, []byte("\n"))[1]}
	}
	for _, form := range forms {
		if strings.Contains(text, string(form)) {
			return true
		}
		for shift := range 3 { // by where it begins among the bytes that are encoded
			code := base64.StdEncoding.EncodeToString(append(make([]byte, shift), form...))
			if strings.Contains(text, code[4:len(code)-4]) { // the ends depend on the neighbours
				return true
			}
		}
	}
	return false
}

// lockedBuffer takes a log.
type lockedBuffer struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

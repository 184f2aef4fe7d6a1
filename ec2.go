package berth

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// EC2Config describes the instances of NewEC2SharedProvider. The zero value of every field is the default that its
// comment gives.
type EC2Config struct {
	// AWS is how to reach AWS. nil = the SDK's default chain: environment, shared files, the role of the machine
	AWS *aws.Config

	// Types are the instance types that will do, the preferred one first. Default: Config.InstanceType
	Types []string
	// Subnets are where instances may go. Default: the default subnets of the account's default VPC
	Subnets []string
	// SecurityGroups are those of the instances: they must let this process reach port 2376, and should let nobody else.
	// Default: the default one of the subnet's VPC
	SecurityGroups []string
	Spot           ec2cloud.Spot // Default: on demand
	// PublicAddress gives each instance a public address and reaches it there. Default: it is reached at its private one
	PublicAddress bool
	// ImageID is the image of the instances, and ImageParameter the name of an SSM parameter that names it; at most one
	// of them is set. Default: Amazon's image for ECS with Amazon Linux 2023, of the architecture of the instance type
	ImageID, ImageParameter string
	Volume                  ec2cloud.Volume   // the root volume. Default: 50 GiB of gp3
	Tags                    map[string]string // beside berth's own, which begin with "berth:"
	// InstanceProfile is the name or the ARN of an instance profile. Default: none, since whatever runs on an instance
	// may act as its role
	InstanceProfile string

	// AvoidCIDRs are the networks that tasks must reach beside the VPC's own, such as those of its peers: the containers'
	// own addresses are taken from none of them
	AvoidCIDRs []netip.Prefix
	// DeadMan is how long an instance lives without being touched by any process of this pool: then it ends itself.
	// Default 6 h; -1 = for ever
	DeadMan time.Duration
	// EndForeignAfter ends instances that carry this pool's name and the identity of another store, when this process has
	// seen them for so long; until then they count against MaxInstances. It is for a store that may be lost, such as one in
	// memory: whatever its instances are doing is lost, too, since nobody has the keys to let him in. Set it only where no
	// other store has a pool of that name; when another one launches an instance all the same, none is ended. At least 5
	// min. Default 0: they are left alone, and end themselves by DeadMan
	EndForeignAfter time.Duration
	// BootScript is a bash script that each instance runs as root when Docker is installed and nobody can reach it from
	// outside yet. It is readable on the instance, so it holds no secret
	BootScript string
	// Daemon has more settings for Docker's daemon.json, such as registry-mirrors
	Daemon map[string]any
}

// NewEC2SharedProvider returns a Provider whose instances are EC2 instances, which boot as Docker hosts of their own and
// are reached over mutual TLS. It sets Config.Cloud and Engine itself, and looks before it returns whether anything
// keeps an instance from being launched: the error then lists all of it, each with what to do.
//
// Config.Store is required: with memory, which is a choice, nobody finds the instances again when this process dies, and
// they run until EC2Config.DeadMan has passed, or EndForeignAfter in a process that follows. Any other store requires Config.Sealer.
func NewEC2SharedProvider(ctx context.Context, cfg Config) (*Provider, error) {
	return newEC2(ctx, cfg, func(cfg *Config, clients *hostboot.Clients) orchestrator.Engine {
		return dockerengine.New(dockerengine.Options{
			TLS: clients.TLS, Dialer: cfg.Dialer, RegistryAuth: cfg.RegistryAuth, Logger: cfg.Logger,
		})
	})
}

// newEC2 is NewEC2SharedProvider over any engine.
func newEC2(ctx context.Context, cfg Config, engine func(*Config, *hostboot.Clients) orchestrator.Engine) (*Provider, error) {
	if err := cfg.forEC2(); err != nil {
		return nil, err
	}
	cloud, err := ec2cloud.New(ctx, cfg.ec2Options())
	if err != nil {
		return nil, fmt.Errorf("berth: %w", err)
	}
	if err := cloud.Preflight(ctx); err != nil {
		return nil, fmt.Errorf("berth: %w", err)
	}
	clients, ca, err := poolClients(ctx, &cfg)
	if err != nil {
		return nil, fmt.Errorf("berth: %w", err)
	}
	if err := bootable(&cfg, ca, cloud.Networks()); err != nil {
		return nil, fmt.Errorf("berth: what instances boot from: %w", err)
	}
	cfg.Cloud, cfg.Engine, cfg.foreignGrace = cloud, engine(&cfg, clients), cfg.EC2.EndForeignAfter
	cfg.boot = func(_ context.Context, launchID string) ([]byte, string, error) {
		return hostboot.Boot(cfg.hostOptions(launchID, ca, cloud.Networks()))
	}
	return New(ctx, cfg)
}

// forEC2 sets the defaults and checks what New does not.
func (c *Config) forEC2() error {
	*c = c.withDefaults()
	var errs []error
	switch {
	case c.Store == nil:
		errs = append(errs, &FieldError{Field: "Config.Store", Reason: "is required: one that outlives this process finds the " +
			"instances again; memstore.New() is a choice, too"})
	case c.Sealer == nil:
		if _, memory := c.Store.(*memstore.Store); !memory {
			errs = append(errs, &FieldError{Field: "Config.Sealer", Reason: "is required with a store that others can read: it seals " +
				"the keys that let somebody into an instance; see seal.AES"})
			break
		}
		var key [seal.KeySize]byte // of this process alone, as the memory is
		rand.Read(key[:])
		c.Sealer, _ = seal.AES(key[:])
	}
	if grace := c.EC2.EndForeignAfter; grace != 0 && grace < 5*time.Minute {
		errs = append(errs, &FieldError{Field: "Config.EC2.EndForeignAfter", Reason: "must be 0, or at least 5 min: lists of EC2 lag behind"})
	}
	later := *c
	later.Cloud, later.Engine = (*ec2cloud.Cloud)(nil), (*dockerengine.Engine)(nil)
	return errors.Join(append(errs, later.validate())...)
}

func (c *Config) ec2Options() ec2cloud.Options {
	e := c.EC2
	o := ec2cloud.Options{
		AWS: e.AWS, Pool: c.Name, Sealer: c.Sealer, Types: e.Types, Subnets: e.Subnets, SecurityGroups: e.SecurityGroups,
		Spot: e.Spot, PublicAddress: e.PublicAddress, ImageID: e.ImageID, ImageParameter: e.ImageParameter,
		Volume: e.Volume, Tags: e.Tags, InstanceProfile: e.InstanceProfile, Logger: c.Logger,
	}
	if len(o.Types) == 0 {
		o.Types = []string{c.InstanceType}
	}
	return o
}

// hostOptions are those of one launch. networks are what containers must reach, whatever the Config says.
func (c *Config) hostOptions(launchID string, ca []byte, networks []netip.Prefix) hostboot.Options {
	return hostboot.Options{
		LaunchID: launchID, Pool: c.Name, ClientCA: ca, MaxAge: max(c.MaxInstanceAge, 0), BootDeadline: c.BootTimeout,
		DeadMan: c.EC2.DeadMan, AvoidCIDRs: slices.Concat(c.EC2.AvoidCIDRs, networks), Daemon: c.EC2.Daemon, Extra: c.EC2.BootScript,
	}
}

// bootable makes the user data of a launch that never is: what is wrong with it would fail every launch, where only the
// log says so.
func bootable(cfg *Config, ca []byte, networks []netip.Prefix) error {
	_, _, err := hostboot.Boot(cfg.hostOptions(cfg.Name+"-of-no-machine-at-all", ca, networks))
	return err
}

// poolClients returns what connects to the hosts of the pool, and the certificate of its authority, which is made with
// the pool and kept in its record, its key sealed. Each start seals that again: so an old key of the Sealer is of no use
// any more once every process has been started with a new one.
func poolClients(ctx context.Context, cfg *Config) (clients *hostboot.Clients, ca []byte, err error) {
	record, err := ensurePool(ctx, cfg.Store, "")
	if err != nil {
		return nil, nil, fmt.Errorf("cannot use the store: %w", err)
	}
	about := []byte("client authority of pool " + cfg.Name)
	var key []byte
	if len(record.ClientKey) == 0 {
		ca, key, err = hostboot.NewClientCA(cfg.Name)
	} else {
		ca, key, err = openClients(ctx, cfg, record, about)
	}
	if err != nil {
		return nil, nil, err
	}
	sealed, err := cfg.Sealer.Seal(ctx, key, about)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot seal the key of the pool's clients: %w", err)
	}
	now, err := replaceClients(ctx, cfg.Store, record.ClientKey, ca, sealed)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot use the store: %w", err)
	}
	if ca, key, err = openClients(ctx, cfg, now, about); err != nil { // another process may have been first
		return nil, nil, err
	}
	clients, err = hostboot.NewClients(ca, key)
	return clients, ca, err
}

func openClients(ctx context.Context, cfg *Config, record *store.Pool, about []byte) (ca, key []byte, err error) {
	if key, err = cfg.Sealer.Open(ctx, record.ClientKey, about); err != nil {
		return nil, nil, fmt.Errorf("cannot open the key of the pool's clients, which is sealed in the store; was it sealed with "+
			"another key than those of Config.Sealer? %w", err)
	}
	return record.ClientCA, key, nil
}

// replaceClients stores the authority of the pool's clients, unless its key is not the one any more that was seen, and
// returns the record as it is then.
func replaceClients(ctx context.Context, st store.Store, seen, ca, sealed []byte) (record *store.Pool, err error) {
	err = st.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) (err error) {
		if record, err = store.Get[*store.Pool](tx, store.PoolKey()); err != nil || !bytes.Equal(record.ClientKey, seen) {
			return err
		}
		record.ClientCA, record.ClientKey = ca, sealed
		return tx.Put(record)
	})
	return record, err
}

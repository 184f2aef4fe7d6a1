package berth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/replica"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/store"
)

// EC2Config describes the instances of NewEC2SharedProvider. The zero value of a field means the default that its comment
// gives.
type EC2Config struct {
	// AWS says how to reach AWS. nil = the SDK's default chain: environment, shared files, the role of the machine
	AWS *aws.Config

	// Types are the acceptable instance types, the preferred one first. Default: Config.InstanceType
	Types []string
	// Subnets are where instances may be launched. Default: the default subnets of the account's default VPC
	Subnets []string
	// SecurityGroups are those of the instances. They must let this process reach port 2376, and should let nobody else.
	// Default: the default group of the subnet's VPC
	SecurityGroups []string
	Spot           ec2cloud.Spot // Default: on demand
	// PublicAddress gives each instance a public address, and reaches it there. Default: it is reached at its private one
	PublicAddress bool
	// ImageID is the image of the instances, and ImageParameter the name of an SSM parameter that holds it. At most one of
	// them is set. Default: Amazon's image for ECS with Amazon Linux 2023, of the architecture of the instance type
	ImageID, ImageParameter string
	Volume                  ec2cloud.Volume   // the root volume. Default: 50 GiB of gp3
	Tags                    map[string]string // added to berth's own, which begin with "berth:"
	// InstanceProfile is the name or the ARN of an instance profile. Everything that runs on an instance may act as its
	// role. Default: none
	InstanceProfile string

	// AvoidCIDRs are networks that tasks must reach beside the VPC's own, such as those of its peers. Containers get no
	// addresses in them
	AvoidCIDRs []netip.Prefix
	// DeadMan is how long an instance lives without contact to any process of this pool. Then it ends itself. It is at
	// least 1 min: a process touches its instances every 10 s. Default 6 h; -1 = for ever
	DeadMan time.Duration
	// EndForeignAfter ends instances that carry this pool's name and the identity of another store, after this process has
	// seen them for so long. Until then they count against MaxInstances. It is for a store that may be lost, such as one in
	// memory. The work on such instances is lost too, since no process has the keys to connect to them. Set it only if no
	// other store has a pool of that name. If another one launches an instance after all, none is ended. It is at least
	// 5 min. Default 0: these instances are left alone, and end themselves by DeadMan
	EndForeignAfter time.Duration
	// SessionDisk and SessionDiskGiB give the sessions' files a file system of their own, with which the kernel bounds the disk
	// of each session: see "Disk" in docs/operations.md. SessionDisk names a disk of the instance that is not used yet, or is a
	// pattern such as /dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*. SessionDiskGiB is the size of a file on the root
	// volume, which takes its place if there is no such disk. Default: two thirds of what is free there after BootScript.
	// -1 = no such file
	SessionDisk    string
	SessionDiskGiB int
	// BootScript is a bash script that each instance runs as root, after Docker is installed and before anybody can connect
	// from outside. It can be read on the instance, so it must hold no secret
	BootScript string
	// Daemon has more settings for Docker's daemon.json, such as registry-mirrors
	Daemon map[string]any
}

// NewEC2SharedProvider returns a Provider whose instances are EC2 instances. They boot as Docker hosts of their own and are
// reached over mutual TLS. It sets Config.Cloud and Engine itself. Before it returns, it checks whether anything prevents
// the launch of an instance. If so, the error lists all of it, each with what to do, as the error of CheckEC2 does. A
// failure of the store is an ErrUnavailable, and is returned alone.
//
// Config.Store is required. A memstore will do, but then no process finds the instances again when this one dies: they run
// until EC2Config.DeadMan has passed, or EndForeignAfter in a later process. Any other store requires Config.Sealer.
func NewEC2SharedProvider(ctx context.Context, cfg Config) (*Provider, error) {
	return newEC2(ctx, cfg, func(cfg *Config, clients *hostboot.Clients) orchestrator.Engine {
		return dockerengine.New(dockerengine.Options{
			TLS: clients.TLS, Dialer: cfg.Dialer, RegistryAuth: cfg.RegistryAuth, Runtime: cfg.Runtime, Logger: cfg.Logger,
		})
	})
}

// CheckEC2 checks a Config as NewEC2SharedProvider does, and returns what would be launched, as far as that is known. It
// launches nothing, and uses neither Config.Store nor Config.Sealer: their failures show when they are used. Its error joins
// everything that NewEC2SharedProvider would refuse, so that all of it can be mended at once: a *FieldError for each field,
// with its name in Config, and a *ec2cloud.PreflightError of what AWS says.
func CheckEC2(ctx context.Context, cfg Config) (ec2cloud.Plan, error) {
	wrong := cfg.forEC2()
	opts := cfg.ec2Options()
	if wrong != nil { // wrong has these faults already
		opts.Pool = cfg.fitName()
		if opts.Sealer == nil {
			opts.Sealer, _ = seal.AES(make([]byte, seal.KeySize)) // it seals nothing here
		}
	}
	plan, err := ec2cloud.Check(ctx, opts)
	return plan, joined(wrong, bootable(&cfg, plan.Networks), err)
}

// joined is errors.Join. A FieldError says itself that it is this package's.
func joined(errs ...error) error {
	err := errors.Join(errs...)
	if err == nil || errors.Is(err, ErrInvalid) {
		return err
	}
	return fmt.Errorf("berth: %w", err)
}

// newEC2 is NewEC2SharedProvider over any engine.
func newEC2(ctx context.Context, cfg Config, engine func(*Config, *hostboot.Clients) orchestrator.Engine) (*Provider, error) {
	wrong := cfg.forEC2()
	opts := cfg.ec2Options()
	if wrong == nil {
		_, wrong = ec2cloud.New(ctx, opts) // it calls nobody
	}
	if wrong != nil {
		_, err := CheckEC2(ctx, cfg)
		return nil, cmp.Or(err, wrong)
	}
	st := boundStore(cfg.Store)
	record, err := replica.OpenPool(ctx, st, "")
	if err != nil {
		return nil, fmt.Errorf("berth: cannot use the store: %w", err)
	}
	opts.PoolUID = record.UID
	cloud, err := ec2cloud.New(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("berth: %w", err)
	}
	// With the image that the pool launches, SSM need not answer now.
	if len(record.Pins) > 0 {
		if err := cloud.Pin(record.Pins); err != nil {
			cfg.Logger.Warn("cannot use the stored pins of earlier launches", "err", err)
		}
	}
	err = cloud.Preflight(ctx)
	if err := joined(bootable(&cfg, cloud.Networks()), err); err != nil {
		return nil, err
	}
	clients, ca, err := poolClients(ctx, &cfg, st, record)
	if err != nil {
		return nil, fmt.Errorf("berth: %w", err)
	}
	cfg.Cloud, cfg.Engine = cloud, engine(&cfg, clients)
	return newProvider(ctx, cfg, st, launching{
		boot: func(_ context.Context, launchID string) ([]byte, string, error) {
			return hostboot.Boot(cfg.hostOptions(launchID, ca, cloud.Networks()))
		},
		foreignGrace: cfg.EC2.EndForeignAfter,
	})
}

// forEC2 sets the defaults and checks what New does not.
func (c *Config) forEC2() error {
	*c = c.withDefaults()
	var errs []error
	switch {
	case c.Store == nil:
		errs = append(errs, &FieldError{Field: "Config.Store", Reason: "is required: one that outlives this process finds the " +
			"instances again; memstore.New() is allowed, too"})
	case c.Sealer == nil:
		if !store.InProcess(c.Store) {
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
	if d := c.EC2.DeadMan; d != 0 && d != -1 && d < minDeadMan || d > longest {
		errs = append(errs, &FieldError{Field: "Config.EC2.DeadMan", Reason: "must be from 1 min to 100 years, 0 for 6 h, or -1 for ever: " +
			"instances are touched every 10 s, and a shorter one would end those that are well"})
	}
	return errors.Join(append(errs, c.validate())...)
}

func (c *Config) ec2Options() ec2cloud.Options {
	e := c.EC2
	o := ec2cloud.Options{
		AWS: e.AWS, Pool: c.Name, Sealer: c.Sealer, Types: e.Types, Subnets: e.Subnets, SecurityGroups: e.SecurityGroups,
		Spot: e.Spot, PublicAddress: e.PublicAddress, ImageID: e.ImageID, ImageParameter: e.ImageParameter,
		Volume: e.Volume, Tags: e.Tags, InstanceProfile: e.InstanceProfile, Logger: c.Logger,
		FieldName: func(field string) string {
			switch {
			case field == "Pool":
				return "Config.Name"
			case field == "Sealer":
				return "Config.Sealer"
			case field == "Types" && len(e.Types) == 0:
				return "Config.InstanceType"
			}
			return "Config.EC2." + field
		},
		FieldError: func(field, reason string) error { return &FieldError{Field: field, Reason: reason} },
	}
	if len(o.Types) == 0 {
		o.Types = []string{c.InstanceType}
	}
	return o
}

// minDeadMan bounds EC2Config.DeadMan from below: several touches may fail before it is over.
const minDeadMan = time.Minute

// fitName is the pool's name, or one that stands for it while the rest of a Config is looked at.
func (c *Config) fitName() string {
	if !poolName.MatchString(c.Name) {
		return "berth"
	}
	return c.Name
}

// hostFields are the names that the fields of hostboot.Options have for a user.
var hostFields = map[string]string{
	"Pool": "Config.Name", "MaxAge": "Config.MaxInstanceAge", "BootDeadline": "Config.BootTimeout", "DeadMan": "Config.EC2.DeadMan",
	"Disk": "Config.EC2.SessionDisk", "DiskGiB": "Config.EC2.SessionDiskGiB",
	"AvoidCIDRs": "Config.EC2.AvoidCIDRs", "Daemon": "Config.EC2.Daemon", "Extra": "Config.EC2.BootScript",
}

// hostOptions are the options of one launch. Containers must reach networks, beside those of the Config.
func (c *Config) hostOptions(launchID string, ca []byte, networks []netip.Prefix) hostboot.Options {
	return hostboot.Options{
		LaunchID: launchID, Pool: c.Name, ClientCA: ca, MaxAge: max(c.MaxInstanceAge, 0), BootDeadline: c.BootTimeout,
		DeadMan: c.EC2.DeadMan, AvoidCIDRs: slices.Concat(c.EC2.AvoidCIDRs, networks), Daemon: c.EC2.Daemon, Extra: c.EC2.BootScript,
		Disk: c.EC2.SessionDisk, DiskGiB: c.EC2.SessionDiskGiB,
		FieldError: func(field, reason string) error {
			return &FieldError{Field: cmp.Or(hostFields[field], field), Reason: reason}
		},
	}
}

// bootable makes the user data of an imaginary launch, and returns what is wrong with it. Such a fault would fail every
// launch, and only the log would say so. bootable leaves out the faults that forEC2 returns.
func bootable(cfg *Config, networks []netip.Prefix) error {
	name := cfg.fitName()
	ca, _, err := hostboot.NewClientCA(name)
	if err == nil {
		o := cfg.hostOptions(name+"-of-no-machine-at-all", ca, networks)
		o.Pool, o.MaxAge, o.BootDeadline = name, min(o.MaxAge, longest), max(o.BootDeadline, 0)
		if o.DeadMan != -1 && o.DeadMan < minDeadMan {
			o.DeadMan = 0
		}
		_, _, err = hostboot.Boot(o)
	}
	if err == nil || errors.Is(err, ErrInvalid) {
		return err
	}
	return fmt.Errorf("what instances boot from: %w", err)
}

// poolClients returns the clients that connect to the pool's hosts, and the certificate of their authority. The authority is
// made with the pool and kept in the pool's record, its key sealed. Each start seals the key again. So the Sealer needs an
// old key no more once every process has been started with a new one.
func poolClients(ctx context.Context, cfg *Config, st store.Store, record *store.Pool) (clients *hostboot.Clients, ca []byte, err error) {
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
	now, err := replaceClients(ctx, st, record.ClientKey, ca, sealed)
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

// replaceClients stores the authority of the pool's clients, unless the stored key is another one than seen. It returns the
// record as it is then.
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

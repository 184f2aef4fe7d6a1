package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/store/memstore"
)

// options are the program's flags.
type options struct {
	region, subnets, groups, types, spot, image, name string
	min, max                                          int
	public, dry                                       bool
	repos                                             []string
	command                                           []string // what follows the flags
}

func parse(args []string, out io.Writer) (o options, err error) {
	f := flag.NewFlagSet("aws", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&o.region, "region", "", "AWS region; empty = that of the environment")
	f.StringVar(&o.subnets, "subnets", "", "`IDs` of subnets, with commas between them; empty = those of the default VPC")
	f.StringVar(&o.groups, "security-groups", "", "`IDs` of security groups that let this machine reach port 2376; empty = the VPC's default one")
	f.StringVar(&o.types, "type", "t3.large", "instance `types` that will do, the preferred one first, with commas between them")
	f.IntVar(&o.min, "min", 0, "instances to keep")
	f.IntVar(&o.max, "max", 1, "instances never to exceed")
	f.StringVar(&o.spot, "spot", "", `"first": spot, or else on demand; "only": spot; empty = on demand`)
	f.BoolVar(&o.public, "public", false, "give instances a public address and reach them there")
	f.StringVar(&o.image, "image", "", "image of the instances: an `ID`, or the name of an SSM parameter; empty = Amazon's for ECS")
	f.StringVar(&o.name, "name", "aws-example", "name of the pool: one program at a time per name")
	f.BoolVar(&o.dry, "dry-run", false, "launch nothing: print what would be launched and what is in its way")
	f.Func("repo", "`URL` of a repository to run the command on; may be repeated", func(url string) error {
		o.repos = append(o.repos, url)
		return nil
	})
	f.Usage = func() {
		fmt.Fprintln(out, "Usage: aws [flags] [--] [command to run in each repository, default: git log -1 --oneline]")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for _, url := range o.repos {
		if _, err := naming.ParseRemote(url); err != nil { // flag would show the URL, and a credential with it
			return o, err
		}
	}
	if len(o.repos) == 0 && !o.dry {
		return o, errors.New("no -repo: name a repository, or look first with -dry-run")
	}
	if o.command = f.Args(); len(o.command) == 0 {
		o.command = []string{"git", "log", "-1", "--oneline"}
	}
	return o, nil
}

// config is the Provider's.
func (o options) config(ctx context.Context) (berth.Config, error) {
	var load []func(*config.LoadOptions) error
	if o.region != "" {
		load = append(load, config.WithRegion(o.region))
	}
	sdk, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return berth.Config{}, err
	}
	cfg := berth.Config{
		Name: o.name, MinInstances: o.min, MaxInstances: o.max,
		Store: memstore.New(), // this program ends what it launches; a backend has a store that outlives it
		EC2: berth.EC2Config{
			AWS: &sdk, Types: list(o.types), Subnets: list(o.subnets), SecurityGroups: list(o.groups),
			Spot: ec2cloud.Spot(o.spot), PublicAddress: o.public,
		},
	}
	if strings.HasPrefix(o.image, "ami-") {
		cfg.EC2.ImageID = o.image
	} else {
		cfg.EC2.ImageParameter = o.image
	}
	return cfg, nil
}

// cloudOptions are those of the driver alone, for a dry run.
func cloudOptions(cfg berth.Config) ec2cloud.Options {
	e := cfg.EC2
	return ec2cloud.Options{
		AWS: e.AWS, Pool: cfg.Name, Sealer: noSealer{}, Types: e.Types, Subnets: e.Subnets, SecurityGroups: e.SecurityGroups,
		Spot: e.Spot, PublicAddress: e.PublicAddress, ImageID: e.ImageID, ImageParameter: e.ImageParameter,
	}
}

// noSealer is for a dry run, which has no secret.
type noSealer struct{}

func (noSealer) Seal(context.Context, []byte, []byte) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func (noSealer) Open(context.Context, []byte, []byte) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func list(commas string) []string {
	return strings.FieldsFunc(commas, func(r rune) bool { return r == ',' || r == ' ' })
}

// describe says where a pool's instances are looked for, also after the program has ended.
func describe(sdk *aws.Config, pool string) string {
	return fmt.Sprintf("aws ec2 describe-instances --region %s --filters Name=tag:berth:pool,Values=%s "+
		"Name=instance-state-name,Values=pending,running --query 'Reservations[].Instances[].InstanceId'", sdk.Region, pool)
}

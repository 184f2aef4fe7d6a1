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
	command                                           []string // the arguments after the flags
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
		if _, err := naming.ParseRemote(url); err != nil { // package flag would print the URL, with its credential
			return o, err
		}
	}
	// A Config takes these values as its defaults. It refuses other wrong values itself, all at once.
	var unset []error
	if o.max == 0 {
		unset = append(unset, errors.New("-max: must be at least 1"))
	}
	if o.name == "" {
		unset = append(unset, errors.New("-name: must not be empty"))
	}
	if err := errors.Join(unset...); err != nil {
		return o, err
	}
	if len(o.repos) == 0 && !o.dry {
		return o, errors.New("no -repo: name a repository, or look first with -dry-run")
	}
	if o.command = f.Args(); len(o.command) == 0 {
		o.command = []string{"git", "log", "-1", "--oneline"}
	}
	return o, nil
}

// config returns the Config of the Provider.
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

// flags are the flags that set the fields of a Config. A name that begins with another name comes before it.
var flags = strings.NewReplacer(
	"Config.EC2.SecurityGroups", "-security-groups",
	"Config.EC2.ImageID or Config.EC2.ImageParameter", "-image",
	"Config.EC2.ImageParameter", "-image",
	"Config.EC2.ImageID", "-image",
	"Config.EC2.Subnets", "-subnets",
	"Config.EC2.Types", "-type",
	"Config.EC2.Spot", "-spot",
	"Config.EC2.AWS", "-region",
	"Config.InstanceType", "-type",
	"Config.MinInstances", "-min",
	"Config.MaxInstances", "-max",
	"to MaxInstances", "to -max",
	"Config.Name", "-name",
)

// byFlags is an error with the names of flags in place of those of fields.
func byFlags(err error) error { return errors.New(flags.Replace(err.Error())) }

func list(commas string) []string {
	return strings.FieldsFunc(commas, func(r rune) bool { return r == ',' || r == ' ' })
}

// describe returns the command that lists a pool's instances, which works also after the program has ended.
func describe(sdk *aws.Config, pool string) string {
	return fmt.Sprintf("aws ec2 describe-instances --region %s --filters Name=tag:berth:pool,Values=%s "+
		"Name=instance-state-name,Values=pending,running --query 'Reservations[].Instances[].InstanceId'", sdk.Region, pool)
}

package ec2cloud_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
)

// sent returns the parameters of the last launch, as they came off the wire.
func (r *rig) sent() map[string]string {
	r.Helper()
	all := r.server.Requests(run)
	if len(all) == 0 {
		r.Fatal("nothing was launched")
	}
	form := make(map[string]string)
	for name, values := range all[len(all)-1].Form {
		form[name] = strings.Join(values, "|")
	}
	return form
}

// way is the way of the last launch: market, type and zone.
func (r *rig) way() string {
	r.Helper()
	form := r.sent()
	zone := fmt.Sprint("subnet ", slices.Index(r.opts.Subnets, form["NetworkInterface.1.SubnetId"]))
	for _, z := range r.server.Zones() {
		if form["NetworkInterface.1.SubnetId"] == r.server.Subnet(z) {
			zone = z
		}
	}
	market := "on-demand"
	if form["InstanceMarketOptions.MarketType"] == "spot" {
		market = "spot"
	}
	return market + " " + form["InstanceType"] + " " + zone
}

// tagged are the parameters of tags.
func tagged(form map[string]string, n string, of string, tags ...string) {
	form["TagSpecification."+n+".ResourceType"] = of
	for i := 0; i < len(tags); i += 2 {
		k := string(rune('1' + i/2))
		form["TagSpecification."+n+".Tag."+k+".Key"], form["TagSpecification."+n+".Tag."+k+".Value"] = tags[i], tags[i+1]
	}
}

func TestLaunchOffTheWire(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		r.launch("launch-1")
		want := map[string]string{
			"Action": "RunInstances", "Version": "2016-11-15", "ClientToken": "launch-1", "MinCount": "1", "MaxCount": "1",
			"ImageId": r.server.Image(ec2test.ECSAmd64), "InstanceType": "t3.large", "InstanceInitiatedShutdownBehavior": "terminate",
			"MetadataOptions.HttpTokens": "required", "MetadataOptions.HttpEndpoint": "enabled", "MetadataOptions.HttpPutResponseHopLimit": "1",
			"NetworkInterface.1.DeviceIndex": "0", "NetworkInterface.1.SubnetId": r.server.Subnet("us-east-1a"), "NetworkInterface.1.DeleteOnTermination": "true",
			"BlockDeviceMapping.1.DeviceName": "/dev/xvda", "BlockDeviceMapping.1.Ebs.VolumeSize": "50", "BlockDeviceMapping.1.Ebs.VolumeType": "gp3",
			"BlockDeviceMapping.1.Ebs.Encrypted": "true", "BlockDeviceMapping.1.Ebs.DeleteOnTermination": "true",
		}
		tags := []string{"Name", "berth p1", "berth:launch", "launch-1", "berth:pool", "p1", "berth:pool-uid", "uid-1"}
		tagged(want, "1", "instance", tags...)
		tagged(want, "2", "volume", tags...)
		tagged(want, "3", "network-interface", tags...)
		got := r.sent()
		delete(got, "UserData") // see below
		if diff := cmp.Diff(want, got); diff != "" {
			r.Error(diff)
		}
		if data := r.server.Requests(run)[0].UserData; string(data) != secret {
			r.Errorf("the user data that came to EC2: %q", data)
		}
	})
}

func TestLaunchWithAllOptionsOffTheWire(t *testing.T) {
	change := func(r *rig) {
		r.server.AddInstanceProfile("host", 0)
		group := r.server.AddSecurityGroup("berth", ec2test.Rule{Port: 2376, Source: "10.0.0.0/8"})
		o := &r.opts
		o.Types, o.SecurityGroups, o.Spot, o.PublicAddress = []string{"m7g.large", "t4g.large"}, []string{group}, ec2cloud.SpotFirst, true
		o.Volume, o.Tags, o.InstanceProfile = ec2cloud.Volume{GiB: 100, Type: "gp2"}, map[string]string{"team": "build", "Name": "mine"}, "host"
	}
	inRig(t, quick, change, func(r *rig) {
		m := r.launch("launch-1")
		got := r.sent()
		want := maps.Clone(got)
		maps.Copy(want, map[string]string{
			"ImageId": r.server.Image(ec2test.ECSArm64), "InstanceType": "m7g.large",
			"NetworkInterface.1.SecurityGroupId.1": r.opts.SecurityGroups[0], "NetworkInterface.1.AssociatePublicIpAddress": "true",
			"BlockDeviceMapping.1.Ebs.VolumeSize": "100", "BlockDeviceMapping.1.Ebs.VolumeType": "gp2", "IamInstanceProfile.Name": "host",
			"InstanceMarketOptions.MarketType": "spot", "InstanceMarketOptions.SpotOptions.SpotInstanceType": "one-time",
			"InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior": "terminate",
		})
		tagged(want, "4", "spot-instances-request", "Name", "mine", "berth:launch", "launch-1", "berth:pool", "p1", "berth:pool-uid", "uid-1", "team", "build")
		if diff := cmp.Diff(want, got); diff != "" {
			r.Error(diff)
		}
		if got, is := r.listed(m.CloudID), r.server.Instance(m.CloudID); got.Address != "tcp://"+is.PublicIP+":2376" {
			r.Errorf("it is reached at %s, and its public address is %s", got.Address, is.PublicIP)
		}
	})
}

func TestFrozenRequestHoldsNoSecret(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		f := r.prepare("launch-1")
		r.noSecret("the frozen request", string(f))
		for _, encoded := range []string{"IyEvYmluL3No", "cGxhaW4tcHJpdmF0ZS1rZXk"} { // parts of it in base64
			if bytes.Contains(f, []byte(encoded)) {
				r.Errorf("the frozen request holds the user data in base64: %s", f)
			}
		}
		// User data that is sealed for one launch cannot be opened for another.
		other := bytes.ReplaceAll(f, []byte("launch-1"), []byte("launch-2"))
		_, err := r.cloud.Launch(r.Context(), "launch-2", other)
		r.want(err, pool.ErrPermanent)
		_, err = r.cloud.Launch(r.Context(), "launch-2", f)
		r.want(err, pool.ErrPermanent)
		_, err = r.cloud.Launch(r.Context(), "launch-1", bytes.Replace(f, []byte(`"Version":1`), []byte(`"Version":2`), 1))
		r.want(err, pool.ErrPermanent)
		if n := r.server.Calls(run); n != 0 {
			r.Errorf("%d launches", n)
		}
	})
}

func TestFault10ReservedTagsAreRefused(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		for _, key := range []string{"berth:pool", "Berth:Launch", "aws:x", "", strings.Repeat("k", 129)} {
			opts := r.opts
			opts.Tags = map[string]string{key: "v"}
			if _, err := ec2cloud.New(r.Context(), opts); err == nil || !strings.Contains(err.Error(), "Tags") {
				r.Errorf("tag %q: %v", key, err)
			}
		}
	})
}

func TestOptionsThatAreRefused(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		for want, change := range map[string]func(*ec2cloud.Options){
			"Pool":        func(o *ec2cloud.Options) { o.Pool = "all*" },
			"Sealer":      func(o *ec2cloud.Options) { o.Sealer = nil },
			"Spot":        func(o *ec2cloud.Options) { o.Spot = "always" },
			"ImageID":     func(o *ec2cloud.Options) { o.ImageID = "/aws/service/x" },
			"Volume.GiB":  func(o *ec2cloud.Options) { o.Volume.GiB = -1 },
			"RateShare":   func(o *ec2cloud.Options) { o.RateShare = 2 },
			"Subnets":     func(o *ec2cloud.Options) { o.Subnets = []string{""} },
			"no region":   func(o *ec2cloud.Options) { c := o.AWS.Copy(); c.Region = ""; o.AWS = &c },
			"is set, and": func(o *ec2cloud.Options) { o.ImageID, o.ImageParameter = "ami-1", "/x" },
		} {
			opts := r.opts
			change(&opts)
			if _, err := ec2cloud.New(r.Context(), opts); err == nil || !strings.Contains(err.Error(), want) {
				r.Errorf("want %q: %v", want, err)
			}
		}
	})
}

// TestFieldErrorMakesTheErrors: all errors are of the program's own type, with its own names of fields.
func TestFieldErrorMakesTheErrors(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		mine := errors.New("mine")
		var fields []string
		opts := r.opts
		opts.Spot, opts.Tags, opts.Subnets = "always", map[string]string{"berth:x": ""}, []string{""}
		opts.FieldName = func(field string) string { return "my" + field }
		opts.FieldError = func(field, reason string) error {
			if reason == "" {
				r.Errorf("no reason for %s", field)
			}
			fields = append(fields, field)
			return mine
		}
		if _, err := ec2cloud.New(r.Context(), opts); !errors.Is(err, mine) || strings.Contains(err.Error(), "ec2cloud") {
			r.Errorf("%v", err)
		}
		slices.Sort(fields)
		if !slices.Equal(fields, []string{"mySpot", "mySubnets", "myTags"}) {
			r.Errorf("of %q", fields)
		}
	})
}

func TestFault39LargeUserData(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		large := spec("launch-1")
		large.UserData = bytes.Repeat([]byte("text that can be compressed\n"), 4000)
		f, err := r.cloud.Prepare(r.Context(), large)
		if err != nil {
			r.Fatal(err)
		}
		if _, err := r.cloud.Launch(r.Context(), "launch-1", f); err != nil {
			r.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(r.server.Requests(run)[0].UserData))
		if err != nil {
			r.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, large.UserData) {
			r.Errorf("%d bytes, %v", len(got), err)
		}
		large.UserData = make([]byte, 17000)
		rand.Read(large.UserData)
		_, err = r.cloud.Prepare(r.Context(), large)
		r.want(err, pool.ErrPermanent)
	})
}

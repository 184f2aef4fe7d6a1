package ec2test

import "strings"

// diskSpec describes a volume in a launch request.
type diskSpec struct {
	device     string
	gib        int
	typ        string
	encrypted  bool
	key        string
	iops       int
	throughput int
	keep       bool // it outlives the instance. AWS' default for all volumes except the root volume
	byDefault  bool // the request does not set keep
	snapshot   string
}

func readDisks(p params) []diskSpec {
	var all []diskSpec
	for _, sub := range p.each("BlockDeviceMapping") {
		d := diskSpec{
			device:     sub.required("DeviceName"),
			gib:        sub.integer("Ebs.VolumeSize", 0, 1, 65536),
			typ:        sub.oneOf("Ebs.VolumeType", "gp3", "gp2", "io1", "io2"),
			encrypted:  sub.boolean("Ebs.Encrypted", false),
			key:        sub.str("Ebs.KmsKeyId"),
			iops:       sub.integer("Ebs.Iops", 0, 100, 256000),
			throughput: sub.integer("Ebs.Throughput", 0, 125, 2000),
			snapshot:   sub.str("Ebs.SnapshotId"),
		}
		d.keep = !sub.boolean("Ebs.DeleteOnTermination", false)
		d.byDefault = !sub.has("Ebs.DeleteOnTermination")
		switch {
		case d.key != "" && !d.encrypted:
			p.fail(combination("The parameter KmsKeyId requires the parameter Encrypted to be set."))
		case d.throughput > 0 && d.typ != "gp3":
			p.fail(combination("The parameter throughput is not supported for volumes of type %s", d.typ))
		case d.iops > 0 && d.typ == "gp2":
			p.fail(combination("The parameter iops is not supported for gp2 volumes."))
		}
		for _, other := range all {
			if other.device == d.device {
				p.fail(invalid("blockDeviceMapping", d.device, "The device name is there more than once."))
			}
		}
		all = append(all, d)
	}
	return all
}

// checkDisks adds the image's root volume to the volumes of a launch. The launch may have changed its settings.
func checkDisks(l *launch) error {
	root := diskSpec{device: l.image.device, gib: l.image.gib, typ: "gp3"}
	disks := []diskSpec{root}
	for _, d := range l.disks {
		switch {
		case !strings.HasPrefix(d.device, "/dev/"):
			return fail("InvalidBlockDeviceMapping", "Invalid device name %s", d.device)
		case d.snapshot != "" && d.snapshot != l.image.snapshot:
			return fail("InvalidSnapshot.NotFound", "The snapshot '%s' does not exist.", d.snapshot)
		case d.device == root.device && d.gib == 0:
			d.gib = root.gib
		case d.device == root.device && d.gib < root.gib:
			return fail("InvalidBlockDeviceMapping", "Volume of size %dGB is smaller than snapshot '%s', expect size>= %dGB", d.gib, l.image.snapshot, root.gib)
		case d.gib == 0:
			return fail("MissingParameter", "The request must contain the parameter size or snapshotId")
		}
		if d.device == root.device {
			d.keep = d.keep && !d.byDefault
			disks[0] = d
		} else {
			disks = append(disks, d)
		}
	}
	l.disks = disks
	return nil
}

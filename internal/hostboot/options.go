package hostboot

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

const (
	// Port is where the engine listens for TLS.
	Port = 2376
	// MaxUserData is how many bytes of user data EC2 takes, before base64.
	MaxUserData = 16384
	// TouchVolume is the name of the volume that a manager creates on a host to show that it is alive. The host removes it
	// within minutes.
	TouchVolume = "berth-touch"
	// LabelNotice is the label of a volume by which a host announces its future. Its value is NoticeInterrupted or
	// NoticeRebalance. Such a volume also has the labels berth.kind=notice, berth.pool and berth.launch.
	LabelNotice = "berth.notice"
	// LabelNoticeAt is another label of that volume, with the time that EC2 gives: of the interruption, or of the advice.
	LabelNoticeAt = "berth.notice.at"

	NoticeInterrupted = "interrupted" // EC2 takes the machine back at the given time
	NoticeRebalance   = "rebalance"   // EC2 advises to move, because an interruption has become more likely
)

// Options are the options of Boot.
type Options struct {
	LaunchID string // letters, digits, inner '-' and '_', at most 63
	Pool     string // its name; as LaunchID
	ClientCA []byte // PEM: the certificate of the pool's client authority; see NewClientCA

	// MaxAge is how long a machine of the pool may live. The server certificate is valid for 30 days more. 0 = 30 days.
	MaxAge time.Duration
	// BootDeadline is how long the bootstrap may take before the machine powers off. 0 = 10 min.
	BootDeadline time.Duration
	// DeadMan is how long the machine lives without the touch of a manager. 0 = 6 h, -1 = for ever.
	DeadMan time.Duration

	// AvoidCIDRs are the networks that containers must be able to reach, such as those of the VPC and its peers. The
	// containers' own addresses are taken from other networks.
	AvoidCIDRs []netip.Prefix
	// Daemon has settings for Docker's daemon.json, such as registry-mirrors. They replace the settings that Boot chooses,
	// except for those that decide who reaches the engine and how it is recognized (hosts, tls…, labels): to set these is an
	// error.
	Daemon map[string]any
	// Disk names a disk, or is a pattern of names such as /dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*. The first of
	// these disks that has neither partitions nor a file system gets one with project quotas, for Docker's volumes. "" = none.
	Disk string
	// DiskGiB is the size of a file on the root volume that gets that file system if no disk does. 0 = two thirds of what is
	// free, or what is free but for 10 GiB, and no file if less than 20 GiB is free. -1 = no file. Nothing is done if the volumes'
	// file system has such quotas already, if there are volumes, or if the machine lacks what it takes.
	DiskGiB int
	// Extra is a bash script that may pull an image, for instance. It runs as root when Docker is installed and answers on the
	// machine, but cannot be reached from outside yet. If it fails, the machine powers off. After a reboot during the
	// bootstrap it runs again. It can be read on the machine, so it must hold no secret.
	Extra string

	// FieldError makes the error of an invalid field. nil = an error of this package, with the name of the field here.
	FieldError func(field, reason string) error
}

func (o Options) withDefaults() Options {
	const day = 24 * time.Hour
	o.MaxAge = cmp.Or(o.MaxAge, 30*day)
	o.BootDeadline = cmp.Or(o.BootDeadline, 10*time.Minute)
	o.DeadMan = cmp.Or(o.DeadMan, 6*time.Hour)
	return o
}

// plainName matches names that pass unchanged through DNS names, labels and shell scripts.
var plainName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?$`)

// diskName and volumesPath match what passes unchanged through shell scripts and systemd's units, but for the patterns of a shell.
var (
	diskName    = regexp.MustCompile(`^/dev/[a-zA-Z0-9._:+*?/-]+$`)
	volumesPath = regexp.MustCompile(`^(/[a-zA-Z0-9._-]+)+$`)
)

// quotas reports whether the machine tries to have project quotas. With user namespaces, Docker keeps its volumes elsewhere, and
// its containers cannot have rooms.
func (o Options) quotas() bool {
	return (o.Disk != "" || o.DiskGiB >= 0) && !given(o.Daemon, "userns-remap")
}

// volumes returns the directory of Docker's volumes.
func (o Options) volumes() string {
	root := "/var/lib/docker"
	if given, ok := o.Daemon["data-root"]; ok {
		root = fmt.Sprint(given)
	}
	return strings.TrimSuffix(root, "/") + "/volumes"
}

func (o Options) validate() error {
	var faults []error
	check := func(ok bool, field, why string) {
		if !ok {
			faults = append(faults, o.unfit(field, "%s", why))
		}
	}
	const name = "must be 1 to 63 letters, digits and inner '-' and '_'"
	check(plainName.MatchString(o.LaunchID), "LaunchID", name)
	check(plainName.MatchString(o.Pool), "Pool", name)
	check(o.MaxAge > 0, "MaxAge", "must not be negative")
	check(o.BootDeadline >= time.Second, "BootDeadline", "must be a second or more")
	check(o.DeadMan == -1 || o.DeadMan >= time.Second, "DeadMan", "must be a second or more, or -1")
	check(o.Disk == "" || diskName.MatchString(o.Disk), "Disk", "must be the name of a disk below /dev, or a pattern with * and ?")
	check(o.DiskGiB >= -1, "DiskGiB", "must not be negative, except for -1")
	check(!o.quotas() || volumesPath.MatchString(o.volumes()), "Daemon", `has a "data-root" that is no plain absolute path`)
	if _, err := parseCA(o.ClientCA); err != nil {
		faults = append(faults, fmt.Errorf("hostboot: ClientCA: %w", err))
	}
	return errors.Join(faults...)
}

// unfit returns the error of an invalid field.
func (o Options) unfit(field, format string, args ...any) error {
	reason := fmt.Sprintf(format, args...)
	if o.FieldError != nil {
		return o.FieldError(field, reason)
	}
	return fmt.Errorf("hostboot: %s %s", field, reason)
}

package hostboot

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"time"
)

const (
	// Port is where the engine listens for TLS.
	Port = 2376
	// MaxUserData is how many bytes of user data EC2 takes, before base64.
	MaxUserData = 16384
	// TouchVolume is the name of the volume that a manager creates on a host to tell that it lives. The host removes
	// it within minutes.
	TouchVolume = "berth-touch"
	// LabelNotice is the label of a volume by which a host tells what is going to happen to it. Its value is
	// NoticeInterrupted or NoticeRebalance. Such a volume also has the labels berth.kind=notice, berth.pool and
	// berth.launch.
	LabelNotice = "berth.notice"
	// LabelNoticeAt is the label beside it with the time that EC2 gives: of the interruption, or of the advice.
	LabelNoticeAt = "berth.notice.at"

	NoticeInterrupted = "interrupted" // EC2 takes the machine back at the time that it gives
	NoticeRebalance   = "rebalance"   // EC2 advises to move, since an interruption has become more likely
)

// Options say what Boot makes.
type Options struct {
	LaunchID string // letters, digits, inner '-' and '_', at most 63
	Pool     string // its name; as LaunchID
	ClientCA []byte // PEM: the certificate of the pool's client authority; see NewClientCA

	// MaxAge is how long a machine of the pool may live. The server certificate is valid for 30 days more. 0 = 30 days.
	MaxAge time.Duration
	// BootDeadline is how long the bootstrap may take before the machine powers off. 0 = 10 min.
	BootDeadline time.Duration
	// DeadMan is how long the machine lives without a manager's touch. 0 = 6 h, -1 = for ever.
	DeadMan time.Duration

	// AvoidCIDRs are the networks that containers must be able to reach, such as those of the VPC and its peers: the
	// containers' own addresses are taken from none of them.
	AvoidCIDRs []netip.Prefix
	// Daemon has more settings for Docker's daemon.json, such as registry-mirrors, or other values for those that Boot
	// chooses. What decides who reaches the engine and how it is known (hosts, tls…, labels) is not free.
	Daemon map[string]any
	// Extra is a bash script that runs as root when Docker is installed and answers on the machine, and nobody can
	// reach it from outside yet: to pull an image, for instance. Its failure powers the machine off, and after a reboot
	// in the midst of the bootstrap it runs again. It is readable on the machine, so it holds no secret.
	Extra string
}

func (o Options) withDefaults() Options {
	const day = 24 * time.Hour
	o.MaxAge = cmp.Or(o.MaxAge, 30*day)
	o.BootDeadline = cmp.Or(o.BootDeadline, 10*time.Minute)
	o.DeadMan = cmp.Or(o.DeadMan, 6*time.Hour)
	return o
}

// plainName is what passes through DNS names, labels and shell scripts unchanged.
var plainName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?$`)

func (o Options) validate() error {
	var faults []error
	check := func(ok bool, field, why string) {
		if !ok {
			faults = append(faults, fmt.Errorf("hostboot: %s %s", field, why))
		}
	}
	const name = "must be 1 to 63 letters, digits and inner '-' and '_'"
	check(plainName.MatchString(o.LaunchID), "LaunchID", name)
	check(plainName.MatchString(o.Pool), "Pool", name)
	check(o.MaxAge > 0, "MaxAge", "must not be negative")
	check(o.BootDeadline >= time.Second, "BootDeadline", "must be a second or more")
	check(o.DeadMan == -1 || o.DeadMan >= time.Second, "DeadMan", "must be a second or more, or -1")
	if _, err := parseCA(o.ClientCA); err != nil {
		faults = append(faults, fmt.Errorf("hostboot: ClientCA: %w", err))
	}
	return errors.Join(faults...)
}

package daemon

import (
	"flag"
	"fmt"
	"net/netip"
	"time"

	"github.com/berth-go/berth/agent/egress"
)

// DefaultSocket is where clients connect in a container.
const DefaultSocket = "/berth/run/agent.sock"

// AddFlags defines the flags that set the options, with their defaults.
func (o *Options) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.Socket, "socket", DefaultSocket, "where clients connect")
	flags.StringVar(&o.MirrorDir, "mirror", "/berth/mirror", "where the mirror of the repository is kept")
	flags.StringVar(&o.SessionsDir, "sessions", "/sessions", "where the checkouts are made; emptied at the start")
	flags.StringVar(&o.EtcDir, "etc", "/etc", "where passwd and group are")
	flags.IntVar(&o.MaxProcesses, "max-processes", 1024, "of one session")
	flags.IntVar(&o.MaxFiles, "max-files", 65536, "that one process of a session has open, unless the hard limit is lower")
	flags.DurationVar(&o.OrphanTimeout, "orphan-timeout", 6*time.Hour, "end when no manager was connected for so long; 0 = never")
	flags.Func("shared", "a directory to clean after a session, instead of those found; may be repeated", func(dir string) error {
		o.Shared = append(o.Shared, dir)
		return nil
	})
	flags.Int64Var(&o.Limits.MemoryBytes, "session-memory", 0, "bytes of memory of one session's room; 0 = no limit, here and below")
	flags.IntVar(&o.Limits.CPUWeight, "session-cpu-weight", 0, "CPU time of one session's room beside others, 1 to 10000")
	flags.Int64Var(&o.Limits.TmpBytes, "session-tmp", 0, "bytes of a room's /tmp")
	flags.Int64Var(&o.Limits.VarTmpBytes, "session-var-tmp", 0, "bytes of a room's /var/tmp")
	flags.Int64Var(&o.Limits.ShmBytes, "session-shm", 0, "bytes of a room's /dev/shm")
	flags.Int64Var(&o.Limits.Inodes, "session-inodes", 0, "files in each of a room's /tmp, /var/tmp and /dev/shm")
	flags.IntVar(&o.Limits.PTYs, "session-ptys", 0, "pseudo-terminals of a room")
	flags.Int64Var(&o.Disk.Bytes, "disk-bytes", 0, "bytes that one session may have on the disk; 0 = a part of it, -1 = no limit")
	flags.Int64Var(&o.Disk.Files, "disk-files", 0, "files that one session may have on the disk; 0 = a part of what it can hold, -1 = no limit")
	flags.Int64Var(&o.Disk.Parts, "disk-parts", 1, "into how many the disk is divided")
	for name, limit := range map[string]*int64{
		"refs": &o.Repository.Refs, "ref-bytes": &o.Repository.RefBytes, "fetch-bytes": &o.Repository.FetchBytes,
		"checkout-files": &o.Repository.Files, "checkout-bytes": &o.Repository.Bytes, "checkout-depth": &o.Repository.Depth,
	} {
		flags.Int64Var(limit, "repository-"+name, 0, "a limit of the repository; 0 = the default, -1 = none")
	}
	flags.TextVar(&o.Resolver, "resolver", netip.Addr{}, "the address at which a resolver for the sessions listens; none if it is not set")
	flags.StringVar(&o.ResolvConf, "resolv-conf", "/etc/resolv.conf", "the file that names the resolver")
}

// PolicyFlags defines the flags of an egress policy, and returns a function that reads them.
func PolicyFlags(flags *flag.FlagSet) func() (egress.Policy, error) {
	mode, allow, remotes := "", []string(nil), []string(nil)
	flags.StringVar(&mode, "egress", "", `mode of the egress policy: "open", "none" or "allow-list"`)
	flags.Func("egress-allow", "an address, CIDR or host name that the policy allows; may be repeated", func(item string) error {
		allow = append(allow, item)
		return nil
	})
	flags.Func("egress-remote", "an address, CIDR or host name that fetches alone may connect to; may be repeated", func(item string) error {
		remotes = append(remotes, item)
		return nil
	})
	return func() (egress.Policy, error) {
		policy, err := egress.Parse(egress.Mode(mode), allow, remotes...)
		if err != nil {
			err = fmt.Errorf("egress: %w", err)
		}
		return policy, err
	}
}

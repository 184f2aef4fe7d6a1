package orchestrator

import (
	"errors"
	"fmt"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/naming"
)

// An EgressMode says where the sessions of a container may connect to.
type EgressMode = egress.Mode

// The modes of Egress.
const (
	// EgressOpen lets sessions connect to all addresses except the special ranges: private, loopback, link-local,
	// carrier-grade NAT, metadata and the others that package agent/egress lists.
	EgressOpen = egress.Open
	// EgressNone lets sessions connect to nothing.
	EgressNone = egress.None
	// EgressAllowList lets sessions connect to what Egress.Allow names, and to nothing else.
	EgressAllowList = egress.AllowList
)

// Egress says which addresses a container may connect to. Its zero value is EgressOpen without exceptions.
//
// The mode holds for sessions alone: the agent fetches the container's repository in every mode. The special ranges hold for
// fetches, too. A fetch from an address in them is an agent.ErrAddressRefused, in whatever spelling the remote's URL has
// the address, and whether the URL names the address, a name resolves to it or a redirect leads to it.
type Egress struct {
	Mode EgressMode // "" = EgressOpen
	// Allow holds addresses ("10.1.2.3", "fd00::1") and CIDRs ("10.1.0.0/16"), and with EgressAllowList host names
	// ("proxy.golang.org", "*.npmjs.org"), too. It must be empty with EgressNone.
	//
	// An address or CIDR in it is an exception from the special ranges, for sessions and fetches. It must be as narrow as the
	// range that it is an exception from: "0.0.0.0/0" allows no private address, and a metadata service is allowed only by its
	// own address. A host name is no exception: it does not allow a private address that it resolves to.
	Allow []string
	// Remotes holds addresses, CIDRs and host names of git servers that fetches may connect to, beside what Allow has, in every
	// mode. Sessions do not reach them by that. An address or CIDR must be as narrow as in Allow. A host name lets
	// fetches connect to private addresses, and those of carrier-grade NAT, that it resolves to.
	Remotes []string
}

// IsZero reports whether nothing is set.
func (e Egress) IsZero() bool { return e.Mode == "" && len(e.Allow) == 0 && len(e.Remotes) == 0 }

// Check returns the first fault: the field that it is in, such as "Mode" or "Remotes[2]", and the reason. The reason is "" if
// there is none.
func (e Egress) Check() (field, reason string) {
	_, err := egress.Parse(e.Mode, e.Allow, e.Remotes...)
	fault, ok := errors.AsType[*egress.ItemError](err)
	switch {
	case !ok:
		return "", ""
	case fault.Index < 0:
		return "Mode", fault.Reason
	case fault.Remote:
		return fmt.Sprintf("Remotes[%d]", fault.Index), fault.Reason
	}
	return fmt.Sprintf("Allow[%d]", fault.Index), fault.Reason
}

// errEgress says that a host's own function returned an Egress that is unfit, or panicked.
var errEgress = errors.New("Config.EgressFor")

// egressOf returns the egress of a sharing key's container.
func (c *Config) egressOf(key naming.Key) (e Egress, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w(%s) panicked: %v", errEgress, key, p)
		}
	}()
	if c.EgressFor != nil {
		e = c.EgressFor(key)
	}
	if e.IsZero() {
		return c.Egress, nil
	}
	if field, reason := e.Check(); reason != "" {
		return e, fmt.Errorf("%w(%s).%s: %s", errEgress, key, field, reason)
	}
	return e, nil
}

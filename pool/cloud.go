package pool

import (
	"context"
	"errors"
	"time"
)

// A Cloud launches and ends the machines of one pool.
//
// Implementations: localcloud (this machine), fake.Cloud (in memory), ec2cloud (EC2). The suite in cloudtest tests
// what the comments in this file say.
//
// All methods are safe for concurrent use, and return when their context ends. An error wraps one of the sentinels
// below where one fits. Any other error of Launch means that its outcome is unknown: the caller repeats the call with
// the same launch ID, or looks for that ID in List.
type Cloud interface {
	// Prepare resolves everything (image, subnet, user data) into a request that Launch can repeat byte for byte after a crash.
	Prepare(ctx context.Context, s Spec) (Frozen, error)
	// Launch starts one machine, or returns the machine that this launch ID has started before. ErrLaunchOver: that
	// machine has ended, or the ID was used with another request; the ID cannot be used again. ErrCapacity, ErrQuota,
	// ErrThrottled, ErrAuth, ErrPermanent: this call has started nothing; an earlier one with the same ID may have. Launch
	// returns ErrCapacity and ErrQuota only for an ID that has no machine.
	Launch(ctx context.Context, id string, f Frozen) (Machine, error)
	// List returns every machine of this pool that may cost money, in any state, each once. Machines of another pool with
	// the same name may be among them. A machine that was launched a moment ago may be missing, and one that has ended may
	// still be listed.
	List(ctx context.Context) ([]Machine, error)
	// Terminate ends machines. To end an absent machine succeeds. failed holds the error of each machine that could not be
	// ended; err says that nothing is known of any of them.
	Terminate(ctx context.Context, cloudIDs ...string) (failed map[string]error, err error)
}

// Spec says what kind of machine the pool wants.
type Spec struct {
	Pool     string // the pool's name
	PoolUID  string // the pool's identity; see store.Pool
	LaunchID string
	Type     string // e.g. "t3.large"
	UserData []byte // the program that the machine runs at its first boot. A secret: it holds the private key of its engine
}

// Frozen is a complete launch request, in a form that only its Cloud reads. It is never empty.
type Frozen []byte

// Machine is a machine as its cloud sees it.
type Machine struct {
	LaunchID string
	// PoolUID is the Spec.PoolUID of its launch; "" if the cloud cannot have two pools of one name. A cloud that does not
	// know it returns another value, which is the UID of no pool
	PoolUID  string
	CloudID  string // e.g. "i-0abc…"
	Address  string // of its container engine, e.g. "tcp://10.0.0.5:2376"; "" while it has none
	State    MachineState
	Reason   string    // why it is MachineEnded or MachineStopped, or has that Outlook, in the cloud's words
	Launched time.Time // by the cloud's clock
	// Ended is when the cloud ceased to bill it, by the cloud's clock. Zero = it has not, or the cloud does not say
	Ended   time.Time
	Outlook Outlook

	// Of the price of the machine, as far as its cloud knows:

	Type string // e.g. "t3.large"
	Zone string // e.g. "us-east-1a"
	Spot bool
}

// Outlook is the future of a machine that runs, as its cloud says in List or its host says to Config.Probe.
type Outlook string

// The outlooks of a machine, the best first.
const (
	OutlookGood        Outlook = ""
	OutlookRebalance   Outlook = "rebalance"   // advice: the risk of an interruption has risen
	OutlookImpaired    Outlook = "impaired"    // the cloud's own checks fail
	OutlookRetiring    Outlook = "retiring"    // the cloud will stop or end it at a time that it has announced
	OutlookInterrupted Outlook = "interrupted" // the cloud is taking it back: minutes are left
)

// Versioned is what a Cloud may implement whose launches depend on more than Spec, such as an image or a network.
type Versioned interface {
	// Generation names everything that any launch would depend on now. Machines of another generation are drained. It is
	// called before each Prepare and every five minutes; an error leaves the generation as it was.
	Generation(ctx context.Context) (string, error)
}

// Stationary is what a Cloud may implement whose one machine stays when it is terminated, such as the machine that runs
// the program. When the pool is destroyed, the machine's engine is cleared, regardless of the records.
type Stationary interface {
	// Address returns the address of the machine's engine.
	Address() string
}

// Explainer is what a Cloud may implement that knows more of a machine that did not boot, such as what it wrote on its
// console.
type Explainer interface {
	// Explain is called once for a machine whose launch failed after it had begun to boot. The text may be long and hold
	// anything: the caller cleans and cuts it. "" = nothing is known.
	Explain(ctx context.Context, cloudID string) (string, error)
}

// MachineState is the state of a Machine.
type MachineState string

// The states of a machine.
const (
	MachinePending MachineState = "pending"
	MachineRunning MachineState = "running"
	MachineStopped MachineState = "stopped" // by somebody else: berth stops none
	MachineEnding  MachineState = "ending"
	MachineEnded   MachineState = "ended"
)

// The errors of a Cloud.
var (
	ErrCapacity   = errors.New("the cloud has no capacity")
	ErrQuota      = errors.New("the account's quota is reached")
	ErrThrottled  = errors.New("the cloud asks for fewer calls")
	ErrAuth       = errors.New("the cloud refuses the credentials")
	ErrPermanent  = errors.New("the request can never succeed")
	ErrLaunchOver = errors.New("the launch is over")
)

// ErrAnotherWay is wrapped, beside one of the others, by an error of Launch that concerns one way to get a machine, such
// as one type in one zone, if the next Prepare would take another way. The next launch then need not wait. A Cloud does
// not return it for one way twice before it has returned it for all others or some minutes have passed, except for
// launches that were prepared before the first refusal.
var ErrAnotherWay = errors.New("the next launch goes another way")

package ec2cloud

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// instance is an instance as an answer shows it. A field is zero where the answer lacks it.
type instance struct {
	id, subnet, zone, typ, arch, image string
	private, public                    string // addresses
	pool, uid, launch                  string // tags
	token                              string // of its launch
	hasUID                             bool   // it has the tag of uid, perhaps an empty one
	spot                               bool
	state                              pool.MachineState // "" if it is unknown
	code, reason                       string            // why it has ended or stopped; code is the code of its StateReason
	launched                           time.Time
	changed                            time.Time // of the last transition of its state, where EC2 gives its time
	index                              int32     // among those of its launch
}

// machineStates are the states of package pool by EC2's.
var machineStates = map[types.InstanceStateName]pool.MachineState{
	types.InstanceStateNamePending:      pool.MachinePending,
	types.InstanceStateNameRunning:      pool.MachineRunning,
	types.InstanceStateNameStopping:     pool.MachineStopped,
	types.InstanceStateNameStopped:      pool.MachineStopped,
	types.InstanceStateNameShuttingDown: pool.MachineEnding,
	types.InstanceStateNameTerminated:   pool.MachineEnded,
}

// readInstance reads an instance. ok says that it has an ID.
func readInstance(i types.Instance) (read instance, ok bool) {
	read = instance{
		id: aws.ToString(i.InstanceId), subnet: aws.ToString(i.SubnetId), typ: string(i.InstanceType), arch: string(i.Architecture),
		image: aws.ToString(i.ImageId), private: aws.ToString(i.PrivateIpAddress), public: aws.ToString(i.PublicIpAddress),
		spot: i.InstanceLifecycle == types.InstanceLifecycleTypeSpot, launched: aws.ToTime(i.LaunchTime), index: aws.ToInt32(i.AmiLaunchIndex),
		reason: clean(aws.ToString(i.StateTransitionReason)), token: aws.ToString(i.ClientToken),
	}
	read.changed = transitionTime(aws.ToString(i.StateTransitionReason))
	if i.Placement != nil {
		read.zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	if i.State != nil {
		read.state = machineStates[lower(i.State.Name)]
	}
	if r := i.StateReason; r != nil {
		read.code, read.reason = aws.ToString(r.Code), clean(aws.ToString(r.Message)) // the message begins with the code
	}
	read.pool, _ = tagOf(i.Tags, tagPool)
	read.uid, read.hasUID = tagOf(i.Tags, tagPoolUID)
	read.launch, _ = tagOf(i.Tags, tagLaunch)
	return read, read.id != ""
}

// readInstances reads a page. A page that lacks its list or the ID of an instance is an error, because it does not prove that
// any instance is gone.
func readInstances(out *ec2.DescribeInstancesOutput) (p page[instance], err error) {
	if out.Reservations == nil {
		return p, fmt.Errorf("there is no list of reservations: %w", errIncomplete)
	}
	p.next = aws.ToString(out.NextToken)
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			read, ok := readInstance(i)
			if !ok {
				return p, fmt.Errorf("an instance has no ID: %w", errIncomplete)
			}
			p.items = append(p.items, read)
		}
	}
	return p, nil
}

// readLaunched returns the instances of a launch. There is at least one.
func readLaunched(out *ec2.RunInstancesOutput) (all []instance, err error) {
	for _, i := range out.Instances {
		if read, ok := readInstance(i); ok {
			all = append(all, read)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("EC2 accepted it and named no instance: %w", errIncomplete)
	}
	return all, nil
}

// request is a spot request.
type request struct {
	id, instance, pool, uid, code, message string
	state                                  types.SpotInstanceState
	created                                time.Time // zero if the answer lacks it
}

func readRequests(out *ec2.DescribeSpotInstanceRequestsOutput) (p page[request], err error) {
	p.next = aws.ToString(out.NextToken)
	for _, r := range out.SpotInstanceRequests {
		read := request{
			id: aws.ToString(r.SpotInstanceRequestId), instance: aws.ToString(r.InstanceId), state: lower(r.State), created: aws.ToTime(r.CreateTime),
		}
		if r.Status != nil {
			read.code, read.message = aws.ToString(r.Status.Code), aws.ToString(r.Status.Message)
		}
		read.pool, _ = tagOf(r.Tags, tagPool)
		read.uid, _ = tagOf(r.Tags, tagPoolUID)
		if read.id != "" {
			p.items = append(p.items, read)
		}
	}
	return p, nil
}

// readStatuses returns outlooks from status checks and scheduled events, by cloud ID, without the good ones.
func readStatuses(out *ec2.DescribeInstanceStatusOutput) (map[string]outlook, error) {
	all := make(map[string]outlook)
	for _, s := range out.InstanceStatuses {
		if o := outlookOf(s, time.Now()); o.outlook != pool.OutlookGood {
			all[aws.ToString(s.InstanceId)] = o
		}
	}
	return all, nil
}

func outlookOf(s types.InstanceStatus, now time.Time) outlook {
	for _, e := range s.Events {
		text := aws.ToString(e.Description)
		if strings.HasPrefix(text, "[Completed]") || strings.HasPrefix(text, "[Canceled]") {
			continue // EC2 still shows it for a while
		}
		if e.Code == "" {
			continue // an empty element is no event
		}
		// A reboot ends all containers just as a stop does.
		return outlook{pool.OutlookRetiring, clean(fmt.Sprintf("%s at %s: %s", e.Code, aws.ToTime(e.NotBefore).UTC().Format(time.RFC3339), text))}
	}
	for name, check := range map[string]*types.InstanceStatusSummary{"system": s.SystemStatus, "instance": s.InstanceStatus} {
		if check == nil || lower(check.Status) != types.SummaryStatusImpaired {
			continue
		}
		for _, d := range check.Details {
			if since := aws.ToTime(d.ImpairedSince); !since.IsZero() && now.Sub(since) >= impairedGrace {
				return outlook{pool.OutlookImpaired, fmt.Sprintf("the %s status check fails since %s", name, since.UTC().Format(time.RFC3339))}
			}
		}
	}
	return outlook{}
}

// readConsole returns the text on an instance's console.
func readConsole(out *ec2.GetConsoleOutputOutput) (string, error) {
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	return string(text), err
}

var inParentheses = regexp.MustCompile(`\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)`)

// transitionTime returns the time in the reason of a transition, as in "User initiated (2026-11-30 14:00:00 GMT)". Zero = it
// has none.
func transitionTime(reason string) time.Time {
	found := inParentheses.FindStringSubmatch(reason)
	if found == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.DateTime, found[1])
	if err != nil {
		return time.Time{}
	}
	return t
}

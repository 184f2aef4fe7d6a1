package ec2cloud_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
)

// manner is a difference of an emulator from EC2, and how berth behaves then.
type manner struct {
	*emulator
	server  *ec2test.Options // nil = quick
	change  func(r *rig)     // of the options, and of the server
	during  func(r *rig)     // before instances are launched
	problem string           // what Preflight finds; "" = berth works
	log     string           // what is told, at least
	fails   bool             // no instance comes to serve
}

func spotFirst(r *rig) { r.opts.Spot = ec2cloud.SpotFirst }

// manners are those of existing emulators, and of some that could exist.
func manners() map[string]manner {
	const dryText = "DryRun is not supported"
	return map[string]manner{
		"no DescribeInstanceTypes":         {emulator: refuses(501, "InternalFailure", "not implemented", "ec2:DescribeInstanceTypes"), log: "taken from the types' names"},
		"no DescribeInstanceTypeOfferings": {emulator: lost(500, "ec2:DescribeInstanceTypeOfferings"), log: "could not be checked"},
		"no DescribeInstanceStatus":        {emulator: refuses(400, "InvalidAction", "unknown", status), log: "could not be checked"},
		"no DescribeVpcs":                  {emulator: refuses(501, "NotImplemented", "not yet", describeVpcs), log: "Allow ec2:DescribeVpcs"},
		"no DescribeSecurityGroups":        {emulator: lost(500, "ec2:DescribeSecurityGroups"), log: "could not be checked"},
		"no spot requests": {emulator: refuses(501, "NotImplemented", "not yet", spotStatus, "ec2:CancelSpotInstanceRequests"),
			change: spotFirst, log: "could not be checked"},
		"no STS":     {emulator: lost(404, "sts:GetCallerIdentity"), log: "STS does not say"},
		"no console": {emulator: lost(404, "ec2:GetConsoleOutput"), log: "could not be checked"},
		"no SSM":     {emulator: lost(404, getParam), problem: "cannot be looked up at this endpoint: name one in Options.ImageID"},
		"no SSM, and an image": {emulator: lost(404, getParam),
			change: func(r *rig) { r.opts.ImageID = r.server.Image(ec2test.ECSAmd64) }},
		"no RunInstances":         {emulator: refuses(501, "InternalFailure", "not implemented", run), problem: "this endpoint does not serve ec2:RunInstances"},
		"a page for RunInstances": {emulator: lost(500, run), problem: "for a reason that should go by: try again later"},
		"no DescribeInstances":    {emulator: lost(500, list), problem: "for a reason that should go by: try again later"},
		"no DescribeSubnets":      {emulator: refuses(501, "NotImplemented", "not yet", "ec2:DescribeSubnets"), problem: "this endpoint does not serve ec2:DescribeSubnets"},
		"an unknown filter": {emulator: refuses(400, "InvalidParameterValue", "The filter 'tag:berth:pool' has not been implemented", list),
			problem: "use an endpoint that behaves like EC2"},

		"bad credentials":   {emulator: refuses(401, "AuthFailure", "no", run, list, "sts:GetCallerIdentity"), problem: "AWS does not accept the credentials"},
		"unknown key":       {emulator: refuses(403, "InvalidClientTokenId", "no", "sts:GetCallerIdentity"), problem: "AWS does not accept the credentials"},
		"no right":          {emulator: refuses(403, "UnauthorizedOperation", "no", run), problem: "ec2:RunInstances is not allowed"},
		"image not found":   {emulator: refuses(400, "InvalidAMIID.NotFound", "no", "ec2:DescribeImages"), problem: "correct Options.ImageID"},
		"image malformed":   {emulator: refuses(400, "InvalidAMIID.Malformed", "no", run), problem: "correct the options"},
		"subnet not found":  {emulator: refuses(400, "InvalidSubnetId.NotFound", "no", run), problem: "correct the options"},
		"group not found":   {emulator: refuses(400, "InvalidGroup.NotFound", "no", run), problem: "correct the options"},
		"group malformed":   {emulator: refuses(400, "InvalidGroupId.Malformed", "no", run), problem: "correct the options"},
		"group not there":   {emulator: refuses(400, "InvalidSecurityGroupID.NotFound", "no", run), problem: "correct the options"},
		"spot tags refused": {emulator: refuseSpotTags(), change: spotFirst, problem: "'spot-instances-request' is not a valid taggable resource"},

		"dry runs launch":        {emulator: without("^DryRun$"), log: "the instances that a dry run has launched were ended at once"},
		"dry runs launch spot":   {emulator: without("^DryRun$"), change: spotFirst, log: "the instances that a dry run has launched were ended at once"},
		"dry runs are unknown":   {emulator: refuseDry(400, "InvalidRequest", dryText), log: "knows no dry runs"},
		"dry runs are a 500":     {emulator: refuseDry(500, "InternalFailure", dryText), log: "knows no dry runs"},
		"client tokens ignored":  {emulator: without("^ClientToken$", run), during: func(r *rig) { r.server.LoseAnswers(run, 2) }, log: "no record knows some machines"},
		"filters ignored":        {emulator: without("^Filter"), change: spotFirst},
		"pages refused":          {emulator: refusePages()},
		"pages go round":         {emulator: &emulator{ask: without("^NextToken$").ask, tell: addToken}, problem: "its pages have no end"},
		"no reasons":             {emulator: silent(`(?s)<stateReason>.*?</stateReason>|<reason>.*?</reason>`)},
		"no private address":     {emulator: silent(`<privateIpAddress>.*?</privateIpAddress>`), fails: true, log: "no address at which it could be reached"},
		"private addresses only": {emulator: silent(`<ipAddress>.*?</ipAddress>`), change: public, fails: true, log: "no address at which it could be reached"},
		"at once":                {emulator: &emulator{}, server: &ec2test.Options{Instant: true}},
		"ended ones vanish":      {emulator: &emulator{}, server: &ec2test.Options{Latency: -1, LaunchLag: -1, TagLag: -1, EndLag: -1, Linger: -1}},
		"ended ones stay":        {emulator: &emulator{}, server: &ec2test.Options{Latency: -1, LaunchLag: -1, TagLag: -1, EndLag: -1, Linger: 1e6 * time.Hour}},
	}
}

func public(r *rig) { r.opts.PublicAddress = true }

func refuseSpotTags() *emulator {
	return &emulator{answer: func(action string, form url.Values) *http.Response {
		for key := range form {
			if action == run && strings.HasSuffix(key, ".ResourceType") && form.Get(key) == "spot-instances-request" {
				return errorOf(400, "InvalidParameterValue", "'spot-instances-request' is not a valid taggable resource type for this operation.")
			}
		}
		return nil
	}}
}

func refuseDry(status int, code, message string) *emulator {
	return &emulator{answer: func(_ string, form url.Values) *http.Response {
		if form.Get("DryRun") != "true" {
			return nil
		}
		return errorOf(status, code, message)
	}}
}

func refusePages() *emulator {
	return &emulator{answer: func(_ string, form url.Values) *http.Response {
		if form.Get("MaxResults") == "" {
			return nil
		}
		return errorOf(400, "UnknownParameter", "The parameter MaxResults is not recognized")
	}}
}

// addToken makes every list of instances claim another page.
func addToken(action, text string) string {
	if action != list {
		return text
	}
	return strings.Replace(text, "</DescribeInstancesResponse>", "<nextToken>again</nextToken></DescribeInstancesResponse>", 1)
}

// TestEmulators runs a pool on emulators that differ from EC2. Each either works, or Preflight says what to do. Nothing is
// left, and instances of others are not touched.
func TestEmulators(t *testing.T) {
	for name, m := range manners() {
		t.Run(name, func(t *testing.T) {
			server := quick
			if m.server != nil {
				server = *m.server
			}
			inRig(t, server, (*rig).engineGroup, func(r *rig) {
				foreign := r.launchForeign()
				if m.change != nil {
					m.change(r)
				}
				r.emulate(m.emulator)
				r.cloud = r.connect()
				err := r.cloud.Preflight(r.Context())
				switch {
				case m.problem == "" && err != nil:
					r.Fatal(err)
				case m.problem != "" && (problems(err) != 1 || !strings.Contains(err.Error(), m.problem)):
					r.Fatalf("want %q: %v", m.problem, err)
				}
				time.Sleep(time.Minute)
				if n := r.alive(); n != 1 {
					r.Errorf("Preflight has left %d instances, of which one is another's", n)
				}
				if m.problem == "" {
					r.serve(m)
				}
				if is := r.server.Instance(foreign).State; is != ec2test.Running {
					r.Errorf("another's instance is %s", is)
				}
				if !strings.Contains(r.log.String(), m.log) {
					r.Errorf("the log lacks %q: %s", m.log, r.log)
				}
			})
		})
	}
}

// launchForeign launches an instance that carries no tag, and returns its ID.
func (r *rig) launchForeign() string {
	r.Helper()
	out, err := ec2.NewFromConfig(*r.opts.AWS).RunInstances(r.Context(), &ec2.RunInstancesInput{
		ImageId: aws.String(r.server.Image(ec2test.ECSAmd64)), InstanceType: "t3.large", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		SubnetId: aws.String(r.server.Subnet("us-east-1c")),
	})
	if err != nil {
		r.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	return *out.Instances[0].InstanceId
}

// serve runs a pool of one instance, the first of which ends from outside, and ends it.
func (r *rig) serve(m manner) {
	r.Helper()
	if m.during != nil {
		m.during(r)
	}
	manager, ready, stop := r.manage(func(c *pool.Config) { c.MaxInstances = 3 })
	defer stop()
	want := 1
	if m.fails {
		want = 0
	}
	time.Sleep(8 * time.Minute) // a boot that fails, and the grace of what is not known
	if n := ready(); n != want {
		r.Errorf("%d serve: %+v", n, manager.Stats())
	}
	if n := r.alive(); n != 2 && !m.fails || n > 2 {
		r.Errorf("%d instances, of which one is another's", n)
	}
	all, err := r.cloud.List(r.Context())
	if err != nil {
		r.Error(err)
	}
	for _, machine := range all {
		if machine.State == pool.MachineRunning {
			r.server.Terminate(machine.CloudID)
		}
	}
	time.Sleep(3 * time.Minute)
	if n := ready(); n != want {
		r.Errorf("after an end from outside, %d serve: %+v", n, manager.Stats())
	}
	stop()
	if all, err = r.cloud.List(r.Context()); err != nil {
		r.Error(err)
	}
	for _, machine := range all {
		r.end(machine.CloudID)
	}
	time.Sleep(time.Minute)
	if n := r.alive(); n != 1 {
		r.Errorf("%d instances are left, of which one is another's", n)
	}
}

// TestIgnoredClientTokenLaunchesTwice follows the two instances of one launch: the one that the store knows stays.
func TestIgnoredClientTokenLaunchesTwice(t *testing.T) {
	inRig(t, quick, func(r *rig) { r.emulate(without("^ClientToken$", run)) }, func(r *rig) {
		r.server.LoseAnswers(run, 1)
		_, ready, stop := r.manage(func(c *pool.Config) { c.ScanInterval = time.Minute }) // the list does not come in between
		defer stop()
		time.Sleep(30 * time.Second)
		all := r.server.Instances()
		if len(all) != 2 || all[0].Tags["berth:launch"] != all[1].Tags["berth:launch"] || ready() != 1 {
			r.Fatalf("%d serve of %+v", ready(), all)
		}
		time.Sleep(8 * time.Minute)
		if n := r.alive(); n != 1 || ready() != 1 || r.server.Instance(all[1].ID).State != ec2test.Running {
			r.Errorf("%d are alive, %d serve; the one that answered is %s", n, ready(), r.server.Instance(all[1].ID).State)
		}
	})
}

// TestDryRunThatLaunchesWithoutAnAnswer: the instance that a dry run has launched is found in the list, and no dry run ends
// an instance that serves.
func TestDryRunThatLaunchesWithoutAnAnswer(t *testing.T) {
	inRig(t, quick, (*rig).engineGroup, func(r *rig) {
		serving := r.launch("launch-1")
		r.opts.Spot = ec2cloud.SpotFirst
		r.emulate(without("^DryRun$"))
		r.cloud = r.connect()
		r.server.LoseAnswers(run, 1)
		r.lacks()
		time.Sleep(time.Minute)
		if n := r.alive(); n != 1 || r.server.Instance(serving.CloudID).State != ec2test.Running {
			r.Errorf("%d instances; the one that serves is %s", n, r.server.Instance(serving.CloudID).State)
		}
		if n := len(r.server.Instances()); n != 2 && n != 3 {
			r.Errorf("%d were launched", n)
		}
	})
}

// TestDryRunThatLaunchesWhatCannotBeEnded: the error names the instance that is left.
func TestDryRunThatLaunchesWhatCannotBeEnded(t *testing.T) {
	inRig(t, quick, (*rig).engineGroup, func(r *rig) {
		r.emulate(without("^DryRun$"))
		r.cloud = r.connect()
		r.server.Deny(terminate)
		err := r.cloud.Preflight(r.Context())
		if err == nil || !strings.Contains(err.Error(), "which cannot be ended: end it by hand") || !strings.Contains(err.Error(), r.server.Instances()[0].ID) {
			r.Error(err)
		}
	})
}
